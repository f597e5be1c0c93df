// The documents of docs/reference/http.md that show what there is: apps, containers, nodes, calls.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/app_catalog.h"
#include "control/call_table.h"
#include "control/containers.h"
#include "control/deployments.h"
#include "control/engine_driver.h"
#include "control/fleet.h"
#include "control/leases.h"

namespace ember {

class Listings {
 public:
  Listings(EngineDriver& driver, const AppCatalog& catalog, const CallTable& calls,
           const Containers& containers, const NodeFleet& fleet, const Deployments& deployments,
           const LogBook& logs, const Leases& leases)
      : driver_(driver),
        catalog_(catalog),
        calls_(calls),
        containers_(containers),
        fleet_(fleet),
        deployments_(deployments),
        logs_(logs),
        leases_(leases) {}

  std::string apps() const;
  Result<std::string> app(std::string_view name) const;
  std::string containers() const;
  std::string nodes() const;
  std::string calls(std::string_view app, std::size_t limit) const;
  CallStatus status(CallId id) const;
  Result<std::string> call(CallId id) const;
  JsonValue call_entry(const Call& call) const;
  JsonValue call_entry(const FinishedCall& call) const;
  // Why it is where it is, in one line; empty for one that has ended.
  std::string why(const Call& call) const;

 private:
  std::optional<Duration> left_to_start(const Function& function, std::int64_t ahead) const;
  std::string awaited_by(const Call& call) const;
  std::string furthest_start(const Function& function) const;
  PoolView pool_of(const Function& function) const;
  std::string text_of(const Reason& reason, const Function& function) const;
  JsonValue is_cold(const Call& call) const;
  JsonValue rollout_of(const App& app) const;
  JsonValue app_entry(const App& app, const std::vector<PoolView>& pools) const;
  JsonValue function_entry(const App& app, const Function& function) const;
  JsonValue pool_entry(const Function& function) const;
  JsonValue variants_of(const App& app, const Function& function) const;
  JsonValue device_entry(const NodeView& node, const Device& device) const;
  JsonValue container_entry(const ContainerView& view) const;

  EngineDriver& driver_;
  const AppCatalog& catalog_;
  const CallTable& calls_;
  const Containers& containers_;
  const NodeFleet& fleet_;
  const Deployments& deployments_;
  const LogBook& logs_;
  const Leases& leases_;
};

// Which of an app's versions serves, and which is rolled out; 0: none.
struct History {
  std::uint32_t current = 0;
  bool stopped = false;
  std::uint32_t rolled_out = 0;
  std::string waits_for;  // until that takes over
};
std::string history_document(const std::vector<VersionRecord>& versions, const History& now);

}  // namespace ember
