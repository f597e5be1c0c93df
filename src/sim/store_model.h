// The driver's durable state, as far as usage and containers go: writes wait for a commit, batches
// are atomic, and a crash may lose those that wait (a whole tail of them, never one in the middle).
// A row applied twice is kept once, by what it bills.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/money.h"
#include "engine/action.h"
#include "model/ids.h"
#include "model/usage.h"

namespace ember {

// What identifies a ledger entry (store.h, LedgerRecord).
using LedgerKey = std::tuple<ContainerId, LeaseId, std::int64_t, Meter, Phase>;
LedgerKey key_of(const UsageRow& row);
// A price table with a different price for each meter and GPU type.
Money price_of(const UsageRow& row);

struct StoreBatch {
  std::vector<UsageRow> rows;
  std::vector<ContainerId> ended;  // their last record
  std::vector<GrantLease> granted = {};
  std::vector<ReleaseLease> released = {};
  bool empty() const {
    return rows.empty() && ended.empty() && granted.empty() && released.empty();
  }
};

struct StoredLease {
  GrantLease grant;
  Time billed_until;
  Time released;  // zero while it lasts
};

class StoreModel {
 public:
  void write(StoreBatch batch) { waiting_.push_back(std::move(batch)); }
  // Makes what waits durable; returns the containers whose end is now on disk.
  std::vector<ContainerId> commit();
  // The driver dies. Of what waits, `survives` batches were on disk in time.
  void crash(std::size_t survives);

  std::size_t waiting() const { return waiting_.size(); }
  bool has_ended(ContainerId container) const { return ended_.contains(container); }
  // Up to where the container's usage is on disk; `started` if nothing is.
  Time billed_until(ContainerId container, Time started) const;
  // The bytes of its egress rows on disk.
  std::int64_t egress_billed(ContainerId container) const;

  const std::map<LeaseId, StoredLease>& leases() const { return leases_; }
  const std::map<LedgerKey, UsageRow>& rows() const { return rows_; }
  Money total() const { return total_; }

 private:
  void apply(const StoreBatch& batch);

  std::deque<StoreBatch> waiting_;
  std::map<LedgerKey, UsageRow> rows_;
  std::map<LeaseId, StoredLease> leases_;
  std::unordered_map<ContainerId, Time, IdHash> billed_until_;
  std::unordered_map<ContainerId, std::int64_t, IdHash> egress_billed_;
  std::unordered_set<ContainerId, IdHash> ended_;
  Money total_;  // kept as entries come in
};

}  // namespace ember
