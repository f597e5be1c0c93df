// The driver's durable state, as far as usage, containers, calls for later and schedules go:
// writes wait for a commit, batches are atomic, and a crash may lose those that wait (a whole tail
// of them, never one in the middle). A row applied twice is kept once, by what it bills.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/money.h"
#include "engine/action.h"
#include "model/ids.h"
#include "model/priority.h"
#include "model/usage.h"

namespace ember {

// What identifies a ledger entry (store.h, LedgerRecord).
using LedgerKey = std::tuple<ContainerId, LeaseId, std::int64_t, Meter, Phase>;
LedgerKey key_of(const UsageRow& row);
// A price table with a different price for each meter and GPU type.
Money price_of(const UsageRow& row);

// A call for later. Who asks for it again, by its key, gets the same one.
struct Job {
  std::uint64_t key = 0;
  InputId input;
  FunctionId function;
  KeyId caller;
  Priority priority;
  Time expires = Time::never();
};

// How far a schedule has come.
struct TickRecord {
  FunctionId function;
  Time handled;
  std::int64_t missed = 0;       // in all
  std::optional<Time> run = {};  // the tick that is called with this
};

struct StoreBatch {
  std::vector<UsageRow> rows;
  std::vector<ContainerId> ended;  // their last record
  std::vector<GrantLease> granted = {};
  std::vector<ReleaseLease> released = {};
  std::vector<Job> accepted = {};
  std::vector<std::uint64_t> job_ends = {};  // keys
  std::vector<TickRecord> ticks = {};
  bool empty() const {
    return rows.empty() && ended.empty() && granted.empty() && released.empty() &&
           accepted.empty() && job_ends.empty() && ticks.empty();
  }
};

struct StoredJob {
  Job job;
  std::uint32_t ends = 0;
  std::uint32_t copies = 1;  // of its acceptance
};

struct StoredTicks {
  TickRecord record;      // the last
  std::vector<Time> run;  // each tick that was called
};

// What a commit has made durable.
struct Committed {
  std::vector<ContainerId> ended;
  std::vector<Job> accepted;
};

struct StoredLease {
  GrantLease grant;
  Time billed_until;
  Time released;  // zero while it lasts
};

class StoreModel {
 public:
  void write(StoreBatch batch) { waiting_.push_back(std::move(batch)); }
  // Makes what waits durable.
  Committed commit();
  // The driver dies. Of what waits, `survives` batches were on disk in time.
  void crash(std::size_t survives);

  std::size_t waiting() const { return waiting_.size(); }
  bool has_ended(ContainerId container) const { return ended_.contains(container); }
  // Up to where the container's usage is on disk; `started` if nothing is.
  Time billed_until(ContainerId container, Time started) const;
  // The bytes of its egress rows on disk.
  std::int64_t egress_billed(ContainerId container) const;

  const std::map<LeaseId, StoredLease>& leases() const { return leases_; }
  const std::map<std::uint64_t, StoredJob>& jobs() const { return jobs_; }
  const std::map<FunctionId, StoredTicks>& ticks() const { return ticks_; }
  const std::map<LedgerKey, UsageRow>& rows() const { return rows_; }
  Money total() const { return total_; }

 private:
  void apply(const StoreBatch& batch);

  std::deque<StoreBatch> waiting_;
  std::map<LedgerKey, UsageRow> rows_;
  std::map<LeaseId, StoredLease> leases_;
  std::map<std::uint64_t, StoredJob> jobs_;  // by key
  std::map<FunctionId, StoredTicks> ticks_;
  std::unordered_map<ContainerId, Time, IdHash> billed_until_;
  std::unordered_map<ContainerId, std::int64_t, IdHash> egress_billed_;
  std::unordered_set<ContainerId, IdHash> ended_;
  Money total_;  // kept as entries come in
};

}  // namespace ember
