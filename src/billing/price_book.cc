#include "billing/price_book.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "base/int128.h"
#include "model/gpu.h"

namespace ember {
namespace {

constexpr std::int64_t kNanoPerUsd = 1'000'000'000;
constexpr std::int64_t kBytesPerGiB = 1ll << 30;
constexpr std::int64_t kBytesPerGB = 1'000'000'000;
constexpr PriceKind kKinds[] = {PriceKind::serverless, PriceKind::on_demand, PriceKind::spot,
                                PriceKind::reserved};
constexpr Meter kMeters[] = {Meter::gpu, Meter::cpu, Meter::memory, Meter::egress, Meter::disk};

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

template <class Value, std::size_t Size>
std::optional<Value> find_named(const Value (&values)[Size], std::string_view (*name)(Value),
                                std::string_view text) {
  for (const Value value : values) {
    if (name(value) == text) return value;
  }
  return std::nullopt;
}

// What makes two rows prices of the same thing.
auto offer(const PriceRow& row) {
  return std::tie(row.provider, row.sku, row.region, row.meter, row.gpu, row.count, row.kind);
}

// "modal L4 (L4), valid from 2026-11-25": for messages.
std::string describe(const PriceRow& row) {
  const std::string_view what = row.meter == Meter::gpu ? row.gpu : meter_name(row.meter);
  return row.provider + " " + std::string(what) + " (" + row.sku + "), valid from " +
         row.valid_from.text();
}

Result<> check_row(const PriceRow& row) {
  const bool may_be_free = row.meter == Meter::egress;
  if (row.provider.empty()) return invalid("a price needs a provider");
  if (row.price.nano_usd < 0 || (row.price.nano_usd == 0 && !may_be_free)) {
    return invalid("price of " + describe(row) + " must be greater than 0");
  }
  const GpuType* type = find_gpu_type(row.gpu);
  if (row.meter == Meter::gpu && (!type || type->name != row.gpu)) {
    return invalid("price of " + describe(row) + ": unknown GPU type \"" + row.gpu + "\"");
  }
  if (row.meter != Meter::gpu && !row.gpu.empty()) {
    return invalid("price of " + describe(row) + ": only a GPU price names a GPU type");
  }
  if (row.count == 0) return invalid("price of " + describe(row) + ": count must be at least 1");
  if (row.source.empty()) return invalid("price of " + describe(row) + " needs a source");
  if (row.assumed && row.provider != kLocalProvider) {
    return invalid("price of " + describe(row) + ": only a local rate can be assumed");
  }
  return Ok{};
}

Result<Date> date_field(std::string_view field, const std::string& text) {
  const auto date = parse_date(text);
  if (!date) {
    return invalid("price: " + std::string(field) + " \"" + text +
                   "\" must be a day such as 2026-11-25");
  }
  return *date;
}

}  // namespace

std::string_view price_kind_name(PriceKind kind) {
  switch (kind) {
    case PriceKind::serverless:
      return "serverless";
    case PriceKind::on_demand:
      return "on_demand";
    case PriceKind::spot:
      return "spot";
    case PriceKind::reserved:
      return "reserved";
  }
  return "";
}

std::optional<PricePerHour> parse_price(std::string_view text) {
  std::int64_t nano = 0;
  std::int64_t place = kNanoPerUsd;  // of the digit read last
  bool fraction = false;
  char last = '.';
  for (const char c : text) {
    if (c == '.' && last != '.' && !fraction) {
      fraction = true;
    } else if (c < '0' || c > '9' || (fraction && place == 1)) {
      return std::nullopt;
    } else if (fraction) {
      place /= 10;
      nano += (c - '0') * place;
    } else {
      if (nano > std::numeric_limits<std::int64_t>::max() / 10 - 10 * kNanoPerUsd) {
        return std::nullopt;
      }
      nano = nano * 10 + (c - '0') * kNanoPerUsd;
    }
    last = c;
  }
  if (last == '.') return std::nullopt;  // also the empty text
  return PricePerHour{nano};
}

Result<PriceRow> parse_price_row(const PriceFields& fields) {
  const auto meter = find_named(kMeters, meter_name, fields.meter);
  if (!meter) {
    return invalid("price: meter \"" + fields.meter +
                   "\" must be gpu, cpu, memory, disk or egress");
  }
  const auto kind = find_named(kKinds, price_kind_name, fields.kind);
  if (!kind) {
    return invalid("price: kind \"" + fields.kind +
                   "\" must be serverless, on_demand, spot or reserved");
  }
  const auto price = parse_price(fields.usd);
  if (!price) {
    return invalid("price: \"" + fields.usd +
                   "\" must be a decimal text such as \"0.55\", with at most nine places");
  }
  const auto valid_from = date_field("valid_from", fields.valid_from);
  if (!valid_from) return valid_from.error();
  const auto fetched_at = date_field("fetched_at", fields.fetched_at);
  if (!fetched_at) return fetched_at.error();
  return PriceRow{.provider = fields.provider,
                  .sku = fields.sku,
                  .region = fields.region,
                  .meter = *meter,
                  .gpu = fields.gpu,
                  .count = fields.count,
                  .kind = *kind,
                  .price = *price,
                  .valid_from = *valid_from,
                  .source = fields.source,
                  .fetched_at = *fetched_at,
                  .note = fields.note,
                  .assumed = fields.assumed};
}

Result<> PriceBook::add(PriceRow row) {
  if (Result<> checked = check_row(row); !checked) return checked;
  const bool twice = std::any_of(rows_.begin(), rows_.end(), [&](const PriceRow& other) {
    return offer(other) == offer(row) && other.valid_from == row.valid_from;
  });
  if (twice) return invalid("price of " + describe(row) + " is there twice");
  rows_.push_back(std::move(row));
  return Ok{};
}

Result<> PriceBook::add(Markup markup) {
  if (markup.provider.empty() || markup.source.empty()) {
    return invalid("a markup needs a provider and a source");
  }
  if (markup.low_percent > markup.high_percent) {
    return invalid("markup of " + markup.provider + ": low_percent is over high_percent");
  }
  markups_.push_back(std::move(markup));
  return Ok{};
}

const PriceRow* PriceBook::local(Meter meter, std::string_view gpu, Date on) const {
  const PriceRow* newest = nullptr;
  for (const PriceRow& row : rows_) {
    if (row.provider != kLocalProvider || row.meter != meter || row.gpu != gpu) continue;
    if (row.valid_from > on) continue;
    // On one day a rate that somebody set goes before an assumed one.
    if (!newest || std::tuple(row.valid_from, !row.assumed) >
                       std::tuple(newest->valid_from, !newest->assumed)) {
      newest = &row;
    }
  }
  return newest;
}

std::vector<std::string> PriceBook::gpus_by_price(Date on) const {
  std::vector<std::pair<PricePerHour, std::string>> priced;
  for (const GpuType& type : gpu_types()) {
    const PriceRow* row = local(Meter::gpu, type.name, on);
    if (row) priced.emplace_back(row->price, type.name);
  }
  std::sort(priced.begin(), priced.end());
  std::vector<std::string> types;
  for (auto& [price, type] : priced) types.push_back(std::move(type));
  return types;
}

std::vector<const PriceRow*> PriceBook::elsewhere(std::string_view gpu, Date on) const {
  std::vector<const PriceRow*> newest;
  for (const PriceRow& row : rows_) {
    if (row.provider == kLocalProvider || row.meter != Meter::gpu || row.gpu != gpu) continue;
    if (row.valid_from > on) continue;
    const auto same = std::find_if(newest.begin(), newest.end(), [&](const PriceRow* other) {
      return offer(*other) == offer(row);
    });
    if (same == newest.end()) {
      newest.push_back(&row);
    } else if ((*same)->valid_from < row.valid_from) {
      *same = &row;
    }
  }
  std::sort(newest.begin(), newest.end(), [](const PriceRow* a, const PriceRow* b) {
    return std::tuple(a->price, offer(*a)) < std::tuple(b->price, offer(*b));
  });
  return newest;
}

Result<> PriceBook::check_complete(Date on) const {
  std::string missing;
  const auto need = [&](Meter meter, std::string_view gpu) {
    if (local(meter, gpu, on)) return;
    if (!missing.empty()) missing += ", ";
    missing += meter == Meter::gpu ? gpu : meter_name(meter);
  };
  for (const GpuType& type : gpu_types()) need(Meter::gpu, type.name);
  for (const Meter meter : {Meter::cpu, Meter::memory, Meter::disk, Meter::egress}) need(meter, "");
  if (missing.empty()) return Ok{};
  return invalid("the price book has no local rate on " + on.text() + " for " + missing +
                 "; add a row of the provider \"local\" for each");
}

bool PriceBook::assumes(Date on) const {
  return std::any_of(rows_.begin(), rows_.end(), [&](const PriceRow& row) {
    return row.assumed && local(row.meter, row.gpu, on) == &row;
  });
}

Money amount_of(const UsageRow& row, PricePerHour price) {
  switch (row.meter) {
    case Meter::gpu:
      if (row.device_bytes > 0)
        return price.over_ms(row.quantity, row.share_bytes, row.device_bytes);
      return price.over_ms(row.quantity, row.units, 1);
    case Meter::cpu:
      return price.over_ms(row.quantity, row.units, 1000);
    case Meter::memory:
    case Meter::disk:
      return price.over_ms(row.quantity, row.units, kBytesPerGiB);
    case Meter::egress:
      return {divide_half_even(static_cast<Int128>(price.nano_usd) * row.quantity, kBytesPerGB)};
  }
  return {};
}

}  // namespace ember
