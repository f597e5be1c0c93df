// From usage to the ledger: prices each row and writes it, with the records of containers, behind
// the path of calls. What the store cannot take now waits and is tried again each second; nothing
// is dropped. Calls go on meanwhile, and what waits stays small: over 10,000 records the windows of
// each container are joined, and with 100,000 (some 30 MB) no new calls are taken.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "billing/price_book.h"
#include "control/app_catalog.h"
#include "control/background.h"
#include "control/engine_driver.h"
#include "control/fleet.h"
#include "control/tariff.h"
#include "store/store.h"

namespace ember {

// What bills name as the app of leases: no app can have that name. Its functions are who leased.
inline constexpr const char* kLeasesApp = "(leases)";

class Biller {
 public:
  Biller(EngineDriver& driver, Store& store, Background& background, const PriceBook& prices);

  // The rates of this day for what such a container holds.
  std::shared_ptr<const Tariff> tariff(const Resources& resources,
                                       const std::vector<DeviceId>& devices,
                                       const NodeFleet& fleet) const;

  Tariff tariff(const LeaseRecord& lease, const NodeFleet& fleet) const;

  void container_started(const ContainerRecord& record);
  // `durable` runs once the end, and all usage recorded before, is on disk.
  void container_ended(const ContainerRecord& record, std::function<void()> durable);
  void record(const UsageRow& row, const Function& function, const Tariff& tariff);
  // At the rate that is given: that of the day on which the lease began here.
  void record(const UsageRow& row, const LeaseRecord& lease, const Tariff& tariff);
  // After all usage of it that was recorded before.
  void lease_ended(const LeaseRecord& lease) { add(lease); }

  // `done` once a query of the store sees all that was recorded until now; at once while the store
  // cannot be written, since a bill that is late is better than none.
  void settle(std::function<void()> done);

  // Records not on disk yet.
  std::size_t backlog() const { return waiting_.size() + trying_.size(); }
  // Why new calls are refused: what they use could not be billed.
  Result<> has_room() const;
  bool is_failing() const { return !failure_.ok(); }
  // Why the store takes nothing, while it does not.
  const Error& failure() const { return failure_.error(); }

 private:
  Tariff gpu_tariff(const std::string& type, const std::vector<DeviceId>& devices,
                    const NodeFleet& fleet) const;
  void add(Write record);
  void flush();
  void written(const Result<>& result);
  void try_again();

  EngineDriver& driver_;
  Store& store_;
  Background& background_;
  const PriceBook& prices_;
  Batch trying_;   // at the store, or to be given to it again as it is
  Batch waiting_;  // has not been there yet
  std::vector<std::function<void()>> trying_durable_, durable_;  // run once each is on disk
  bool writing_ = false;
  bool flush_due_ = false;
  std::size_t join_at_;
  Result<> failure_ = Ok{};
};

}  // namespace ember
