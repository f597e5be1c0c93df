// Leases of devices to people: asked for, durable before they are answered, ended at their time or
// when they are given back. The engine decides; here they are kept, billed and shown.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "control/app_catalog.h"
#include "control/background.h"
#include "control/biller.h"
#include "control/engine_driver.h"
#include "control/fleet.h"
#include "control/id_source.h"
#include "control/key_ring.h"
#include "store/store.h"

namespace ember {

class Leases {
 public:
  using Done = std::function<void(Result<std::string>)>;  // with the lease's document

  Leases(EngineDriver& driver, Store& store, Background& background, Biller& biller,
         const NodeFleet& fleet, const AppCatalog& catalog, const KeyRing& keys, IdSource& ids);

  // At start, before the node is met: those that had not ended.
  void restore(const Snapshot& snapshot);

  // Answers once it is granted, and on disk, or refused. Whoever lets go of the handle before that
  // does not want it any more.
  [[nodiscard]] std::shared_ptr<void> ask(KeyId key, const std::string& request_json, Done done);
  // Gives it back; the answer is its document.
  Result<std::string> end(std::string_view id);
  std::string list() const;
  // "leased by alice until 2026-11-26 14:00 UTC"; empty where nobody leases the device.
  std::string why_leased(DeviceId device) const;

  // --- what the engine decides ---
  void grant(const GrantLease& action);
  void refuse(const RefuseLease& action);
  void record(const UsageRow& row);
  void release(const ReleaseLease& action);

 private:
  enum class State : std::uint8_t { asked, granted, kept };  // kept: on disk
  struct Lease {
    LeaseRecord record;
    GpuDemand gpu;
    Tariff tariff;  // since it was granted, or this server met its node
    State state = State::asked;
    bool abandoned = false;
    Done done;  // until it is answered
  };

  Lease* find(LeaseId id);
  void kept(LeaseId id, const Result<>& written);
  void abandon(LeaseId id);
  const Tariff& tariff_of(Lease& lease) const;
  JsonValue document_of(const Lease& lease) const;

  EngineDriver& driver_;
  Store& store_;
  Background& background_;
  Biller& biller_;
  const NodeFleet& fleet_;
  const AppCatalog& catalog_;
  const KeyRing& keys_;
  IdSource& ids_;
  std::map<LeaseId, Lease> leases_;
  // Handles that outlive this ask it whether it has gone.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace ember
