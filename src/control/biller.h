// From usage to the ledger: prices each row and writes it, with the records of containers, behind
// the path of calls. What the store cannot take now waits and is tried again; nothing is dropped.
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

class Biller {
 public:
  Biller(EngineDriver& driver, Store& store, Background& background, const PriceBook& prices);

  // The rates of this day for what such a container holds.
  std::shared_ptr<const Tariff> tariff(const Resources& resources,
                                       const std::vector<DeviceId>& devices,
                                       const NodeFleet& fleet) const;

  void container_started(const ContainerRecord& record);
  // `durable` runs once the end, and all usage recorded before, is on disk.
  void container_ended(const ContainerRecord& record, std::function<void()> durable);
  void record(const UsageRow& row, const Function& function, const Tariff& tariff);

  // `done` once a query of the store sees all that was recorded until now; at once while the store
  // cannot be written, since a bill that is late is better than none.
  void settle(std::function<void()> done);

  // Records not on disk yet. Over the limit new calls are refused: what they use could not be
  // billed.
  std::size_t backlog() const { return waiting_.size() + writing_records_; }
  bool is_full() const;
  bool is_failing() const { return failing_; }
  const std::string& failure() const { return failure_; }

 private:
  void add(Write record);
  void flush();
  void written(Batch batch, std::vector<std::function<void()>> durable, const Result<>& result);

  EngineDriver& driver_;
  Store& store_;
  Background& background_;
  const PriceBook& prices_;
  Batch waiting_;
  std::vector<std::function<void()>> durable_;  // run once `waiting_` is on disk
  std::size_t writing_records_ = 0;             // in the batch at the store
  bool flush_due_ = false;
  bool failing_ = false;
  std::string failure_;
};

}  // namespace ember
