// The price book: what a GPU-hour, a core-hour or a gigabyte-hour costs, at whom, since when, and
// who says so. Bills use the rows of the provider "local", this fleet's own rates; the others are
// there to compare with. Every row names its source and the day it was read. Until the operator
// sets a local rate, the book ships one marked `assumed`; there is no rate of zero by omission.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/money.h"
#include "base/result.h"
#include "billing/date.h"
#include "model/usage.h"

namespace ember {

inline constexpr std::string_view kLocalProvider = "local";

enum class PriceKind : std::uint8_t { serverless, on_demand, spot, reserved };

std::string_view price_kind_name(PriceKind kind);

struct PriceRow {
  std::string provider;
  std::string sku;     // what the provider calls it
  std::string region;  // empty: any
  Meter meter = Meter::gpu;
  std::string gpu;          // canonical type; only for Meter::gpu
  std::uint32_t count = 1;  // devices that are sold together
  PriceKind kind = PriceKind::on_demand;
  PricePerHour price;  // of one device, core or GiB; for egress, of 10^9 bytes
  Date valid_from;     // the price holds from this day until a newer row's
  std::string source;
  Date fetched_at;  // the day somebody read it there
  std::string note;
  bool assumed = false;  // a local rate that nobody has set yet
};

// A provider that sells at a markup over the raw price of the GPU, and prints no price per hour.
struct Markup {
  std::string provider = {};
  std::uint32_t low_percent = 0, high_percent = 0;
  Date valid_from = {};
  std::string source = {};
  std::string note = {};
};

// A row as it stands in a file, all text: see docs/reference/prices.md.
struct PriceFields {
  std::string provider, sku, region, meter = "gpu", gpu, kind, usd, valid_from, source, fetched_at,
                                     note;
  std::uint32_t count = 1;
  bool assumed = false;
};
// Checks each field by itself; the message names the field and what it may be.
Result<PriceRow> parse_price_row(const PriceFields& fields);

// Reads "0.031611": digits, and at most nine of them after the point. Nothing for anything else.
std::optional<PricePerHour> parse_price(std::string_view text);

class PriceBook {
 public:
  // Refuses a row with a price that is not positive (egress may be free), an unknown GPU type, no
  // source, or the same provider, sku, region, meter, GPU, kind and date as one it has.
  Result<> add(PriceRow row);
  Result<> add(Markup markup);

  // The local rate of a meter (for Meter::gpu, of that canonical type) on a day: of the rows valid
  // by then the newest. Null if there is none. Pointers live until the next add().
  const PriceRow* local(Meter meter, std::string_view gpu, Date on) const;
  // All known GPU types, those with the lowest local rate on that day first, then by name.
  std::vector<std::string> gpus_by_price(Date on) const;
  // What other providers ask for one such GPU on a day, the newest row of each offer, cheapest
  // first, then by provider, sku and region.
  std::vector<const PriceRow*> elsewhere(std::string_view gpu, Date on) const;
  // A local rate for every known GPU type and every other meter on that day, or what is missing.
  Result<> check_complete(Date on) const;
  // Whether any local rate of that day is one nobody has set.
  bool assumes(Date on) const;

  const std::vector<PriceRow>& rows() const { return rows_; }
  const std::vector<Markup>& markups() const { return markups_; }

 private:
  std::vector<PriceRow> rows_;
  std::vector<Markup> markups_;
};

// What a usage row costs at a price of its meter: rounded once, half to even. A share of a device
// costs its part of the device's memory.
Money amount_of(const UsageRow& row, PricePerHour price);

}  // namespace ember
