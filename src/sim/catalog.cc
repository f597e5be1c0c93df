#include "sim/catalog.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace ember {
namespace {

constexpr std::uint64_t kFunctionsPerApp = 3;
constexpr std::uint64_t kFirstVariant = 1'000;  // of functions' ids

AppId app_of(FunctionId function) { return {1 + (function.value - 1) / kFunctionsPerApp}; }

GpuDemand draw_demand(Random& random) {
  static const std::vector<std::vector<GpuChoice>> kDemands = {
      {{"L4", 1}}, {{"L4", 2}}, {{"H100", 1}}, {{"H100", 2}, {"L4", 2}}, {{"H100", 1}, {"L4", 1}}};
  constexpr std::int64_t kGB = 1'000'000'000;
  if (random.chance(500)) return {};
  GpuDemand demand{kDemands[random.below(kDemands.size())]};
  const bool single = std::ranges::all_of(
      demand.choices, [](const GpuChoice& choice) { return choice.count == 1; });
  if (single && random.chance(500)) {
    demand.share_bytes = kGB * random.between(3, 14);
  } else if (random.chance(200)) {
    demand = {{{"L4", 1}, {"H100", 1}}, 0, kGB * random.between(20, 60)};  // any that has as much
  }
  return demand;
}

// Small enough that all the minimums together leave room for any one container.
void draw_floor(Random& random, FunctionSettings& settings) {
  Scaling& scaling = settings.scaling;
  if (settings.resources.gpu.empty() && random.chance(250)) {
    scaling.min_containers = static_cast<std::uint32_t>(random.between(1, 2));
  }
  if (random.chance(250)) scaling.buffer_containers = 1;
  scaling.max_containers = std::max(scaling.max_containers, scaling.min_containers);
}

Duration draw_ms(Random& random, std::int64_t low, std::int64_t high) {
  return Duration::milliseconds(random.between(low, high));
}

std::vector<Device> draw_devices(NodeId node, const char* type, std::uint32_t count) {
  std::vector<Device> devices;
  for (std::uint32_t i = 1; i <= count; ++i) {
    const std::int64_t vram_bytes = std::string_view(type) == "H100" ? 80ll << 30 : 24ll << 30;
    devices.push_back({DeviceId{node.value * 100 + i}, type, vram_bytes, true});
  }
  return devices;
}

}  // namespace

WorkspaceId workspace_of(AppId app) { return {app.value < 3 ? 1u : 2u}; }

Catalog::Catalog(Random& random, Random batching, std::uint32_t apps)
    : random_(random), batching_(batching) {
  for (std::uint64_t i = 1; i <= apps; ++i) apps_[AppId{i}].stopped = true;
}

FunctionSettings Catalog::draw_settings(FunctionId function) {
  FunctionSettings settings;
  settings.resources.cpu_millicores = 250 * random_.between(1, 8);
  settings.resources.memory_bytes = (256ll << 20) * random_.between(1, 8);
  settings.resources.gpu = draw_demand(random_);
  Scaling& scaling = settings.scaling;
  scaling.max_containers = static_cast<std::uint32_t>(random_.between(1, 6));
  scaling.scaledown_window = draw_ms(random_, 0, 12'000);
  scaling.max_inputs = random_.chance(500) ? 1 : static_cast<std::uint32_t>(random_.between(2, 8));
  scaling.target_inputs = static_cast<std::uint32_t>(random_.between(1, scaling.max_inputs));
  scaling.queue_limit = random_.chance(200) ? 8 : 10'000;
  draw_floor(random_, settings);
  settings.timeout = draw_ms(random_, 2'000, 12'000);
  settings.retries.max_retries =
      random_.chance(500) ? 0 : static_cast<std::uint32_t>(random_.between(1, 3));
  settings.retries.initial_delay = draw_ms(random_, 0, 2'000);
  settings.retries.backoff_permille = static_cast<std::uint32_t>(random_.between(1'000, 3'000));
  settings.retries.max_delay = draw_ms(random_, 1, 5'000);
  settings.startup_timeout = draw_ms(random_, 3'000, 8'000);
  if (batching_.chance(300)) {
    settings.batching.max_batch_size = static_cast<std::uint32_t>(batching_.between(1, 8));
    settings.batching.wait = draw_ms(batching_, 0, 1'000);
  }
  EMBER_ASSERT(function && check(settings).ok());
  return settings;
}

Behaviour Catalog::draw_behaviour(Health health) {
  Behaviour behaviour;
  behaviour.boot = draw_ms(random_, 50, 300);
  behaviour.load = draw_ms(random_, 10, 1'200);
  behaviour.execution = draw_ms(random_, 5, 600);
  behaviour.failing = random_.chance(300) ? 100 : 0;
  behaviour.broken = health == Health::any && random_.chance(120);
  return behaviour;
}

AppDeployed Catalog::declare(AppId app, const std::vector<DeployedPool>& pools) {
  AppDeployed event{app, {}, workspace_of(app)};
  std::vector<PoolId> version;
  for (DeployedPool pool : pools) {
    pool.spec.pool = PoolId{next_pool_++};
    version.push_back(pool.spec.pool);
    event.pools.push_back(pool.spec);
    pools_.emplace(pool.spec.pool, std::move(pool));
  }
  apps_.at(app).versions.push_back(std::move(version));
  apps_.at(app).stopped = false;
  apps_.at(app).rising.clear();
  return event;
}

AppDeployed Catalog::deploy(AppId app, Health health) {
  std::vector<DeployedPool> pools;
  const std::uint64_t first = (app.value - 1) * kFunctionsPerApp + 1;
  for (std::uint64_t i = 0; i < kFunctionsPerApp; ++i) {
    const bool left_out = random_.chance(200) && (i + 1 < kFunctionsPerApp || !pools.empty());
    if (left_out) continue;
    const FunctionId function{first + i};
    pools.push_back({{{}, function, draw_settings(function)}, app, draw_behaviour(health)});
  }
  return declare(app, pools);
}

AppDeployed Catalog::roll_back(AppId app) {
  const auto& versions = apps_.at(app).versions;
  std::vector<DeployedPool> pools;
  for (const PoolId id : versions[random_.below(versions.size())]) pools.push_back(pools_.at(id));
  return declare(app, pools);
}

// Zero where what waits for it is not to be run by the other one.
PoolId Catalog::find_replaced(AppId app, const DeployedPool& pool) const {
  for (const PoolId id : apps_.at(app).versions.back()) {
    const DeployedPool& before = pools_.at(id);
    const bool batched = pool.spec.settings.batching.is_on();
    const bool alike = before.spec.settings.batching.is_on() == batched;
    if (before.spec.function == pool.spec.function && alike) return id;
  }
  return {};
}

AppDeployed Catalog::begin_rollout(AppId app, Random& random) {
  DeployedApp& deployed = apps_.at(app);
  deployed.rising.clear();
  const auto& versions = deployed.versions;
  for (const PoolId id : versions[random.below(versions.size())]) {
    DeployedPool pool = pools_.at(id);
    if (pool.variant_of) continue;
    pool.spec.pool = PoolId{next_pool_++};
    pool.spec.replaces = find_replaced(app, pool);
    deployed.rising.push_back(pool.spec.pool);
    pools_.emplace(pool.spec.pool, std::move(pool));
  }
  return {app, declared(app), workspace_of(app)};
}

std::vector<Event> Catalog::end_rollout(AppId app, Outcome outcome) {
  DeployedApp& deployed = apps_.at(app);
  std::vector<Event> events;
  if (deployed.stopped || deployed.rising.empty()) return events;
  const std::vector<PoolId> rising = std::exchange(deployed.rising, {});
  if (outcome == Outcome::takes_over) deployed.versions.push_back(rising);
  events.emplace_back(AppDeployed{app, declared(app), workspace_of(app)});
  if (outcome == Outcome::withdrawn) return events;
  for (const PoolId id : rising) {
    PoolSpec& spec = pools_.at(id).spec;
    if (!spec.replaces) continue;
    spec.replaces = {};
    events.emplace_back(ScalingChanged{id, spec.settings.scaling});
  }
  return events;
}

std::vector<PoolSpec> Catalog::declared(AppId app) const {
  const DeployedApp& deployed = apps_.at(app);
  std::vector<PoolSpec> specs;
  if (deployed.stopped) return specs;
  for (const PoolId pool : deployed.versions.back()) specs.push_back(pools_.at(pool).spec);
  for (const PoolId pool : deployed.rising) {
    if (!pools_.at(pool).spec.replaces) continue;  // it comes with all of its version
    PoolSpec& spec = specs.emplace_back(pools_.at(pool).spec);
    Scaling& scaling = spec.settings.scaling;
    scaling.min_containers = std::max(scaling.min_containers, (scaling.max_containers + 1) / 2);
    scaling.buffer_containers = 0;
  }
  return specs;
}

PoolAdded Catalog::add_variant(AppId app) {
  std::vector<PoolId>& version = apps_.at(app).versions.back();
  const DeployedPool& base = pools_.at(version[random_.below(version.size())]);
  DeployedPool pool = base;
  pool.variant_of = base.variant_of ? base.variant_of : base.spec.function;
  pool.spec.pool = PoolId{next_pool_++};
  pool.spec.function = FunctionId{kFirstVariant + 4 * pool.variant_of.value + random_.below(4)};
  pool.spec.settings = draw_settings(pool.spec.function);
  pool.spec.settings.scaling.min_containers = 0;  // all the floors together leave room
  pool.spec.spread = random_.chance(300) ? Spread::apart : Spread::packed;
  version.push_back(pool.spec.pool);
  pools_.emplace(pool.spec.pool, pool);
  return {app, pool.spec};
}

ScalingChanged Catalog::rescale(AppId app) {
  const std::vector<PoolId>& version = apps_.at(app).versions.back();
  const PoolId pool = version[random_.below(version.size())];
  Scaling& scaling = pools_.at(pool).spec.settings.scaling;
  const auto least = std::max<std::int64_t>(1, scaling.min_containers);
  scaling.max_containers = static_cast<std::uint32_t>(random_.between(least, 6));
  scaling.buffer_containers = random_.chance(250) ? 1 : 0;
  scaling.scaledown_window = draw_ms(random_, 0, 12'000);
  return {pool, scaling};
}

std::vector<PoolId> Catalog::variants(FunctionId function) const {
  std::vector<PoolId> pools;
  const DeployedApp& app = apps_.at(app_of(function));
  if (app.stopped || app.versions.empty()) return pools;
  for (const PoolId id : app.versions.back()) {
    if (pools_.at(id).variant_of == function) pools.push_back(id);
  }
  return pools;
}

std::optional<PoolId> Catalog::current_pool(FunctionId function) const {
  const DeployedApp& app = apps_.at(app_of(function));
  if (app.stopped || app.versions.empty()) return std::nullopt;
  for (const PoolId id : app.versions.back()) {
    if (pools_.at(id).spec.function == function) return id;
  }
  return std::nullopt;
}

std::vector<FunctionId> Catalog::functions() const {
  std::vector<FunctionId> functions;
  for (std::uint64_t i = 1; i <= apps_.size() * kFunctionsPerApp; ++i) functions.push_back({i});
  return functions;
}

bool Catalog::any_broken(AppId app) const {
  const auto& versions = apps_.at(app).versions;
  return !versions.empty() &&
         std::any_of(versions.back().begin(), versions.back().end(),
                     [&](PoolId id) { return pools_.at(id).behaviour.broken; });
}

std::vector<std::pair<NodeId, NodeCapacity>> draw_fleet(Random& random) {
  constexpr std::int64_t kGiB = 1ll << 30;
  std::vector<std::pair<NodeId, NodeCapacity>> fleet;
  const auto add = [&](std::uint64_t id, const char* type, std::uint32_t devices) {
    fleet.push_back({NodeId{id},
                     {1000 * random.between(8, 24), kGiB * random.between(8, 24),
                      draw_devices(NodeId{id}, type, devices)}});
  };
  add(1, "L4", static_cast<std::uint32_t>(random.between(2, 4)));
  add(2, "H100", 2);
  add(3, "L4", static_cast<std::uint32_t>(random.between(1, 2)));
  add(4, "", 0);
  return fleet;
}

}  // namespace ember
