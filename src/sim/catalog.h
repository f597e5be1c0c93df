// What has been deployed: the part of the driver's durable state that names apps, versions and
// pools. Drawn from the seed; kept over restarts of the driver.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/random.h"
#include "engine/event.h"
#include "model/ids.h"

namespace ember {

// How the code of one function version behaves. The engine never sees it.
struct Behaviour {
  Duration boot, load;        // typical
  Duration execution;         // typical
  std::uint32_t failing = 0;  // per mille of executions: user code raises
  bool broken = false;        // this version can't be loaded
};

struct DeployedPool {
  PoolSpec spec;
  AppId app;
  Behaviour behaviour;
  FunctionId variant_of = {};  // zero: it was declared with its version
};

// The last app is another workspace's.
WorkspaceId workspace_of(AppId app);

struct DeployedApp {
  std::vector<std::vector<PoolId>> versions;  // newest last
  std::vector<PoolId> rising;                 // of one that comes up beside the newest
  bool stopped = false;
};

class Catalog {
 public:
  // `batching` draws which functions are batched, apart from all else that `random` draws.
  Catalog(Random& random, Random batching, std::uint32_t apps);

  // A new version of the app, with other settings here and there. Never broken once `healthy`.
  enum class Health : std::uint8_t { any, healthy };
  AppDeployed deploy(AppId app, Health health);
  // An earlier version again, with new pools.
  AppDeployed roll_back(AppId app);
  // An earlier version again, to come up beside the newest one, with containers of its own where it
  // replaces another pool.
  AppDeployed begin_rollout(AppId app, Random& random);
  // It takes over, as it was drawn, or is withdrawn.
  enum class Outcome : std::uint8_t { takes_over, withdrawn };
  std::vector<Event> end_rollout(AppId app, Outcome outcome);
  // All that is declared of the app.
  std::vector<PoolSpec> declared(AppId app) const;
  // One more pool of the newest version: of one of its functions, with other settings.
  PoolAdded add_variant(AppId app);
  // Of a pool of the newest version: other bounds, its floor and what one container takes the same.
  ScalingChanged rescale(AppId app);
  void stop(AppId app) {
    apps_.at(app).stopped = true;
    apps_.at(app).rising.clear();
  }

  const std::map<AppId, DeployedApp>& apps() const { return apps_; }
  const DeployedPool& pool(PoolId id) const { return pools_.at(id); }
  const std::map<PoolId, DeployedPool>& pools() const { return pools_; }
  // The pool that takes the function's new inputs; nothing if it is not deployed now.
  std::optional<PoolId> current_pool(FunctionId function) const;
  // Those that were added to the newest version of its app.
  std::vector<PoolId> variants(FunctionId function) const;
  std::vector<FunctionId> functions() const;
  bool any_broken(AppId app) const;

 private:
  FunctionSettings draw_settings(FunctionId function);
  Behaviour draw_behaviour(Health health);
  AppDeployed declare(AppId app, const std::vector<DeployedPool>& pools);
  PoolId find_replaced(AppId app, const DeployedPool& pool) const;

  Random& random_;
  Random batching_;
  std::uint64_t next_pool_ = 1;
  std::map<AppId, DeployedApp> apps_;
  std::map<PoolId, DeployedPool> pools_;
};

// The fleet of every run: three nodes with devices and one without.
std::vector<std::pair<NodeId, NodeCapacity>> draw_fleet(Random& random);

}  // namespace ember
