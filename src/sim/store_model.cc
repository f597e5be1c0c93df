#include "sim/store_model.h"

#include <algorithm>
#include <iterator>

namespace ember {

LedgerKey key_of(const UsageRow& row) {
  return {row.container, row.lease, row.window_start.us, row.meter, row.phase};
}

Money price_of(const UsageRow& row) {
  constexpr std::int64_t kDollar = 1'000'000'000;
  constexpr std::int64_t kGiB = 1ll << 30;
  constexpr std::int64_t kBytesPerCent = 100'000'000;
  switch (row.meter) {
    case Meter::gpu: {
      const PricePerHour price{row.gpu_type == "H100" ? 4 * kDollar : kDollar};
      const bool is_share = row.device_bytes > 0;
      return price.over_ms(row.quantity, is_share ? row.share_bytes : row.units,
                           is_share ? row.device_bytes : 1);
    }
    case Meter::cpu:
      return PricePerHour{kDollar / 20}.over_ms(row.quantity, row.units, 1000);
    case Meter::memory:
    case Meter::disk:
      return PricePerHour{kDollar / 120}.over_ms(row.quantity, row.units, kGiB);
    case Meter::egress:
      return {row.quantity * (kDollar / 100) / kBytesPerCent};
  }
  return {};
}

void StoreModel::apply(const StoreBatch& batch) {
  for (const GrantLease& grant : batch.granted) leases_[grant.lease] = {grant, grant.from, {}};
  auto next = rows_.end();  // the rows of a container come together, in the order of their keys
  for (const UsageRow& row : batch.rows) {
    const std::size_t before = rows_.size();
    next = std::next(rows_.emplace_hint(next, key_of(row), row));
    if (rows_.size() == before) continue;
    total_ += price_of(row);
    if (row.lease) {
      leases_.at(row.lease).billed_until = row.window_end;
      continue;
    }
    Time& until = billed_until_[row.container];
    until = std::max(until, row.window_end);
    if (row.meter == Meter::egress) egress_billed_[row.container] += row.quantity;
  }
  for (const ReleaseLease& release : batch.released) {
    leases_.at(release.lease).released = release.at;
  }
  ended_.insert(batch.ended.begin(), batch.ended.end());
  for (const Job& job : batch.accepted) {
    const auto [found, is_new] = jobs_.try_emplace(job.key, StoredJob{job});
    if (!is_new) ++found->second.copies;
  }
  for (const std::uint64_t key : batch.job_ends) ++jobs_.at(key).ends;
  for (const TickRecord& record : batch.ticks) {
    StoredTicks& ticks = ticks_[record.function];
    ticks.record = record;
    if (record.run) ticks.run.push_back(*record.run);
  }
}

Committed StoreModel::commit() {
  Committed done;
  for (const StoreBatch& batch : waiting_) {
    apply(batch);
    done.ended.insert(done.ended.end(), batch.ended.begin(), batch.ended.end());
    done.accepted.insert(done.accepted.end(), batch.accepted.begin(), batch.accepted.end());
  }
  waiting_.clear();
  return done;
}

void StoreModel::crash(std::size_t survives) {
  for (std::size_t i = 0; i < std::min(survives, waiting_.size()); ++i) apply(waiting_[i]);
  waiting_.clear();
}

Time StoreModel::billed_until(ContainerId container, Time started) const {
  const auto found = billed_until_.find(container);
  return found == billed_until_.end() ? started : found->second;
}

std::int64_t StoreModel::egress_billed(ContainerId container) const {
  const auto found = egress_billed_.find(container);
  return found == egress_billed_.end() ? 0 : found->second;
}

}  // namespace ember
