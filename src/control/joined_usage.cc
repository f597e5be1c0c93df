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

std::map<ContainerId, Window> windows_of(const Batch& batch) {
  std::map<ContainerId, Window> windows;
  for (const Write& write : batch) {
    const auto* entry = std::get_if<LedgerRecord>(&write);
    if (!entry) continue;
    Window& window = windows[entry->row.container];
    window.start = std::min(window.start, entry->row.window_start);
    window.end = std::max(window.end, entry->row.window_end);
  }
  return windows;
}

}  // namespace

Batch join_windows(Batch batch) {
  const auto windows = windows_of(batch);
  std::map<std::tuple<ContainerId, Meter, Phase>, std::size_t> places;
  Batch joined;
  for (Write& write : batch) {
    auto* entry = std::get_if<LedgerRecord>(&write);
    if (!entry) {
      joined.push_back(std::move(write));
      continue;
    }
    UsageRow& row = entry->row;
    const auto [place, is_new] =
        places.try_emplace({row.container, row.meter, row.phase}, joined.size());
    if (is_new) {
      row.window_start = windows.at(row.container).start;
      row.window_end = windows.at(row.container).end;
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
