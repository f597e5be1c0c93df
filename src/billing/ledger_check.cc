#include "billing/ledger_check.h"

#include <algorithm>
#include <map>
#include <set>

#include "billing/price_book.h"

namespace ember {
namespace {

// How late the word of an end may come: what was recorded until then is billed.
constexpr Duration kLatestWord = Duration::seconds(60);

constexpr Time floor_to_ms(Time time) { return Time::from_ms(time.whole_ms()); }

std::string ms(Time time) { return std::to_string(time.whole_ms()) + " ms"; }

class Check {
 public:
  explicit Check(const ContainerLife& life) : life_(life), covered_(floor_to_ms(life.started)) {}

  std::vector<std::string> run(std::span<const LedgerEntry> entries) {
    note_meters(entries);
    for (std::size_t i = 0; i < entries.size();) {
      std::size_t end = i;
      while (end < entries.size() && entries[end].row.window_start == entries[i].row.window_start) {
        ++end;
      }
      check_window(entries.subspan(i, end - i));
      i = end;
    }
    check_end();
    return std::move(found_);
  }

 private:
  void wrong(const std::string& what) { found_.push_back(life_.container.text() + ": " + what); }

  static std::string window_text(Time start, Time end) {
    return "window " + std::to_string(start.whole_ms()) + " to " + ms(end);
  }
  static std::string row_text(const UsageRow& row) {
    return window_text(row.window_start, row.window_end) + ", " +
           std::string(meter_name(row.meter)) + ", " + std::string(phase_name(row.phase));
  }

  // Cores and memory every container holds; devices one that has them in any window.
  void note_meters(std::span<const LedgerEntry> entries) {
    held_ = {Meter::cpu, Meter::memory};
    for (const LedgerEntry& entry : entries) {
      if (entry.row.meter != Meter::egress) held_.insert(entry.row.meter);
    }
  }

  // All entries of the windows that begin at one moment: of one window, if all is right.
  void check_window(std::span<const LedgerEntry> entries) {
    std::map<Meter, std::int64_t> sums;
    const LedgerEntry* first = nullptr;
    for (const LedgerEntry& entry : entries) {
      check_entry(entry);
      if (entry.row.meter == Meter::egress) continue;  // bytes, no part of the time
      if (!first) first = &entry;
      if (entry.row.window_end != first->row.window_end) {
        wrong(row_text(entry.row) + ": others that begin then end at " + ms(first->row.window_end));
      }
      sums[entry.row.meter] += entry.row.quantity;
    }
    if (!first) return;
    const Time start = first->row.window_start, end = first->row.window_end;
    if (start > covered_) wrong("a gap: nothing from " + ms(covered_) + " to " + ms(start));
    if (start < covered_)
      wrong("an overlap: " + ms(start) + " to " + ms(covered_) + " is billed twice");
    covered_ = std::max(covered_, end);
    const std::int64_t length_ms = (end - start).whole_ms();
    for (const Meter meter : held_) {
      const std::int64_t off_ms = sums[meter] - length_ms;
      if (off_ms == 0) continue;
      wrong(window_text(start, end) + ", " + std::string(meter_name(meter)) +
            (off_ms < 0 ? ": entries are missing, " : ": entries are doubled, ") +
            std::to_string(sums[meter]) + " of " + std::to_string(length_ms) + " ms are billed");
    }
  }

  void check_entry(const LedgerEntry& entry) {
    const UsageRow& row = entry.row;
    const bool is_time = row.meter != Meter::egress;
    if (row.quantity <= 0 || row.units <= 0) wrong(row_text(row) + ": holds nothing");
    if (row.window_end < row.window_start || (is_time && row.window_end == row.window_start)) {
      wrong(row_text(row) + ": ends before it begins");
    }
    if (row.window_start.us % 1000 != 0 || row.window_end.us % 1000 != 0) {
      wrong(row_text(row) + ": is not of whole milliseconds");
    }
    if ((row.meter == Meter::gpu) == row.gpu_type.empty()) {
      wrong(row_text(row) + ": has a wrong GPU type \"" + row.gpu_type + "\"");
    }
    const bool is_share = row.share_bytes != 0 || row.device_bytes != 0;
    const bool is_part = row.share_bytes > 0 && row.share_bytes <= row.device_bytes;
    if (is_share && (row.meter != Meter::gpu || row.units != 1 || !is_part)) {
      wrong(row_text(row) + ": has a wrong share, " + std::to_string(row.share_bytes) + " of " +
            std::to_string(row.device_bytes) + " bytes");
    }
    const auto [units, is_first] = units_.try_emplace(row.meter, row.units);
    if (!is_first && units->second != row.units) {
      wrong(row_text(row) + ": holds " + std::to_string(row.units) + " units, before " +
            std::to_string(units->second));
    }
    const Money right = amount_of(row, entry.price);
    if (entry.amount == right) return;
    wrong(row_text(row) + ": a wrong amount, " + entry.amount.decimal() + " USD where " +
          std::to_string(row.quantity) + " x " + std::to_string(row.units) + " at " +
          Money{entry.price.nano_usd}.decimal() + " make " + right.decimal());
  }

  void check_end() {
    if (life_.ended == Time{}) return;
    const Time ended = floor_to_ms(life_.ended);
    if (covered_ < ended)
      wrong("a gap: nothing from " + ms(covered_) + " to its end at " + ms(ended));
    if (covered_ > ended + kLatestWord) {
      wrong("billed until " + ms(covered_) + ", beyond its end at " + ms(ended));
    }
  }

  const ContainerLife life_;
  Time covered_;  // by windows so far
  std::set<Meter> held_;
  std::map<Meter, std::int64_t> units_;
  std::vector<std::string> found_;
};

}  // namespace

std::vector<std::string> check_ledger(const ContainerLife& life,
                                      std::span<const LedgerEntry> entries) {
  return Check(life).run(entries);
}

std::vector<std::string> check_ledger(const LeaseLife& life, std::span<const LedgerEntry> entries) {
  std::vector<std::string> found;
  Time covered = floor_to_ms(life.from);
  for (const auto& [row, price, amount] : entries) {
    const std::string window = life.lease.text() + ": window " +
                               std::to_string(row.window_start.whole_ms()) + " to " +
                               ms(row.window_end);
    const std::int64_t length_ms = (row.window_end - row.window_start).whole_ms();
    if (row.meter != Meter::gpu || row.phase != Phase::leased || row.quantity <= 0 ||
        row.quantity > length_ms || row.units <= 0) {
      found.push_back(window + ": is not of a lease");
    }
    if (row.window_start < covered) found.push_back(window + ": is billed twice");
    if (row.window_end > life.until) found.push_back(window + ": is beyond the lease's end");
    if (amount != amount_of(row, price)) {
      found.push_back(window + ": a wrong amount, " + amount.decimal() + " USD where " +
                      amount_of(row, price).decimal() + " is right");
    }
    covered = std::max(covered, row.window_end);
  }
  return found;
}

}  // namespace ember
