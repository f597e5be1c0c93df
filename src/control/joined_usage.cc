#include "control/joined_usage.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "base/assert.h"
#include "billing/price_book.h"

namespace ember {
namespace {

struct Window {
  Time start = Time::never();
  Time end;
};

using Holder = std::pair<ContainerId, LeaseId>;

Holder holder_of(const UsageRow& row) { return {row.container, row.lease}; }

std::map<Holder, Window> windows_of(const Batch& batch) {
  std::map<Holder, Window> windows;
  for (const Write& write : batch) {
    const auto* entry = std::get_if<LedgerRecord>(&write);
    if (!entry) continue;
    Window& window = windows[holder_of(entry->row)];
    window.start = std::min(window.start, entry->row.window_start);
    window.end = std::max(window.end, entry->row.window_end);
  }
  return windows;
}

}  // namespace

Batch join_windows(Batch batch) {
  const auto windows = windows_of(batch);
  std::map<std::tuple<Holder, Meter, Phase>, std::size_t> places;
  Batch joined;
  for (Write& write : batch) {
    auto* entry = std::get_if<LedgerRecord>(&write);
    if (!entry) {
      joined.push_back(std::move(write));
      continue;
    }
    UsageRow& row = entry->row;
    const auto [place, is_new] =
        places.try_emplace({holder_of(row), row.meter, row.phase}, joined.size());
    if (is_new) {
      row.window_start = windows.at(holder_of(row)).start;
      row.window_end = windows.at(holder_of(row)).end;
      joined.push_back(std::move(write));
      continue;
    }
    auto& first = std::get<LedgerRecord>(joined[place->second]);
    EMBER_ASSERT(first.price == entry->price);  // a container's tariff is fixed at its start
    first.row.quantity += row.quantity;
    first.amount = amount_of(first.row, first.price);
  }
  return joined;
}

}  // namespace ember
