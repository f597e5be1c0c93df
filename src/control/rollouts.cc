#include "control/rollouts.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace ember {
namespace {

// Failed or refused starts in a row, of a function that has no container, until its version is
// withdrawn.
constexpr std::uint32_t kMostFailedStarts = 3;
constexpr std::uint32_t kMostRefusedStarts = 10;      // as the engine gives up its callers
constexpr Duration kTryAgain = Duration::seconds(1);  // after a write that failed

std::uint32_t live_containers(const PoolView& pool) {
  return pool.starting + pool.idle + pool.busy;
}
bool is_in_use(const PoolView& pool) { return live_containers(pool) + pool.desired > 0; }
std::uint32_t ready_of(const PoolView& pool) { return pool.idle + pool.busy; }

const FunctionSpec* find_spec(const std::vector<FunctionSpec>& specs, const std::string& name) {
  const auto found = std::ranges::find(specs, name, &FunctionSpec::name);
  return found == specs.end() ? nullptr : &*found;
}

// As many as the one before needs now, and at least one.
std::uint32_t own_containers(const PoolView& before, const Scaling& after) {
  const std::uint32_t wanted = std::max({before.desired, after.min_containers, 1u});
  return std::min(wanted, after.max_containers);
}

}  // namespace

bool can_replace(const FunctionSpec& before, const FunctionSpec& after) {
  const auto is_class = [](const FunctionSpec& spec) { return spec.of_class.is_class(); };
  if (before.of_class.needs_parameters() || after.of_class.needs_parameters()) return false;
  if (is_class(before) != is_class(after) || before.is_generator != after.is_generator ||
      before.web.has_value() != after.web.has_value() ||
      before.settings.batching.is_on() != after.settings.batching.is_on()) {
    return false;
  }
  return std::ranges::all_of(before.of_class.methods, [&](const MethodSpec& method) {
    const auto found = after.of_class.find(method.name);
    if (!found) return false;
    const MethodSpec& same = after.of_class.methods[*found];
    return same.web.has_value() == method.web.has_value() &&
           same.is_generator == method.is_generator;
  });
}

Rollouts::Rollouts(EngineDriver& driver, AppCatalog& catalog, Store& store, Background& background,
                   Changes changes)
    : driver_(driver),
      catalog_(catalog),
      store_(store),
      background_(background),
      changes_(std::move(changes)) {}

bool Rollouts::has_containers_to_replace(const App& app,
                                         const std::vector<FunctionSpec>& functions) const {
  const bool gives_up =
      is_under_way(app.name());  // its containers for a version that is in trouble
  return std::ranges::any_of(app.functions, [&](const FunctionPtr& before) {
    const FunctionSpec* after = find_spec(functions, before->spec.name);
    const auto pool = driver_.engine().pool(before->pool);
    return after && can_replace(before->spec, *after) && pool && (gives_up || is_in_use(*pool));
  });
}

Result<> Rollouts::begin(const AppRecord& record, const VersionRecord& version) {
  return install(record, version, Known::from_engine);
}

Result<> Rollouts::resume(const AppRecord& record, const VersionRecord& version) {
  return install(record, version, Known::nothing);
}

Result<> Rollouts::install(const AppRecord& record, const VersionRecord& version, Known known) {
  auto functions = catalog_.functions_of(version, record.name);
  if (!functions) return std::move(functions).error();
  App& app = *catalog_.find_app(record.name);
  const bool all = known == Known::nothing || is_under_way(record.name);
  for (const FunctionPtr& function : *functions) {
    const FunctionPtr* before = catalog_.find_function(record.name, function->spec.name);
    if (!before || !can_replace((*before)->spec, function->spec)) continue;
    const PoolView pool = driver_.engine().pool((*before)->pool).value_or(PoolView{});
    if (!all && !is_in_use(pool)) continue;
    function->replaces = (*before)->pool;
    function->own_containers = own_containers(pool, function->scaling);
  }
  app.record = record;
  app.rising = std::move(functions).value();
  catalog_.remember(app.rising);
  looks_[record.name] = {};
  driver_.handle(AppDeployed{record.id, pool_specs(app)});
  look_soon();
  return Ok{};
}

void Rollouts::look_soon() {
  if (looks_.empty() || std::exchange(looking_, true)) return;
  driver_.after(Duration{}, [this] {
    looking_ = false;
    look();
  });
}

// After a write that failed: until then nothing tries again.
void Rollouts::look_later(const std::string& app) {
  looks_[app] = driver_.now() + kTryAgain;
  driver_.after(kTryAgain, [this] { look_soon(); });
}

void Rollouts::look() {
  const std::map<std::string, Time> looks = looks_;
  for (const auto& [app, not_before] : looks) {
    if (not_before <= driver_.now()) look_at(app);
  }
}

void Rollouts::look_at(const std::string& name) {
  App* app = catalog_.find_app(name);
  if (!app || app->rising.empty()) return forget(name);
  const auto up = [this](const FunctionPtr& function) { return is_up(*function); };
  if (std::ranges::all_of(app->rising, up)) {
    if (changes_.lock(name)) take_over(*app);
    return;
  }
  for (const FunctionPtr& function : app->rising) {
    std::string why = why_not_up(*function);
    if (why.empty()) continue;
    spdlog::warn("version {} of the app {} is withdrawn: {}", app->record.newest, name, why);
    return withdraw(name, std::move(why), [](const Result<>&) {});
  }
}

// Half of them is enough where the rest has no room while the version before holds it.
bool Rollouts::is_up(const Function& function) const {
  const auto pool = driver_.engine().pool(function.pool);
  if (!pool || ready_of(*pool) >= function.own_containers) return true;
  return pool->starting == 0 && pool->failed_starts == 0 &&
         ready_of(*pool) * 2 >= function.own_containers;
}

std::string Rollouts::why_not_up(const Function& function) const {
  const PoolView pool = driver_.engine().pool(function.pool).value_or(PoolView{});
  if (function.own_containers == 0 || ready_of(pool) > 0) return "";
  if (pool.failed_starts < kMostFailedStarts && pool.refused_starts < kMostRefusedStarts) return "";
  const std::string last = function.last_start_failure.first_line();
  return "no container of " + function.spec.name + " came up" + (last.empty() ? "" : ": " + last);
}

std::string Rollouts::waits_for(const App& app) const {
  for (const FunctionPtr& function : app.rising) {
    if (is_up(*function)) continue;
    const PoolView pool = driver_.engine().pool(function->pool).value_or(PoolView{});
    const std::string last = function->last_start_failure.first_line();
    const std::string& name = function->spec.name;
    const std::string ready = name + " has " + std::to_string(ready_of(pool)) + " of " +
                              std::to_string(function->own_containers) + " containers ready";
    if (pool.failed_starts > 0) {
      return ready + "; failed starts in a row: " + std::to_string(pool.failed_starts) +
             ", the last: " + last;
    }
    if (pool.starting > 0) return ready + ", " + std::to_string(pool.starting) + " starting";
    return ready + "; there is no room for more while the version before runs";
  }
  return "";
}

void Rollouts::take_over(App& app) {
  AppRecord record = app.record;
  record.version = record.newest;
  record.updated = driver_.now();
  store_.apply({record, ForgottenScaling{record.id}},
               background_.to_loop([this, record](const Result<>& written) {
                 if (written) taken_over(record);
                 if (!written) {
                   spdlog::error("version {} of the app {} cannot take over yet: {}", record.newest,
                                 record.name, written.error().message);
                   look_later(record.name);
                 }
                 changes_.unlock(record.name);
               }));
}

void Rollouts::taken_over(AppRecord record) {
  App& app = *catalog_.find_app(record.name);
  std::vector<FunctionPtr> functions = std::exchange(app.rising, {});
  std::vector<FunctionPtr> had_floor;
  for (const FunctionPtr& function : functions) {
    if (std::exchange(function->own_containers, 0) > 0) had_floor.push_back(function);
  }
  forget(record.name);
  std::string source = functions.front()->source;
  catalog_.set_current(record, std::move(source), std::move(functions));
  driver_.handle(AppDeployed{record.id, pool_specs(app)});
  for (const FunctionPtr& function : had_floor) {
    driver_.handle(ScalingChanged{function->pool, pool_spec(*function).settings.scaling});
  }
  changes_.changed(app);
}

void Rollouts::withdraw(const std::string& name, std::string why,
                        std::function<void(Result<>)> done) {
  const App* rolled_out = catalog_.find_app(name);
  if (!rolled_out || !changes_.lock(name)) {
    return done(
        {ErrorCode::conflict, "another change of the app " + name + " is under way; try again"});
  }
  const AppRecord record = rolled_out->record;
  store_.apply({WithdrawnVersion{record.id, record.newest, std::move(why)}},
               background_.to_loop([this, record, done](const Result<>& written) {
                 App& app = *catalog_.find_app(record.name);
                 if (written) {
                   forget(record.name);
                   app.rising.clear();
                   driver_.handle(AppDeployed{record.id, pool_specs(app)});
                 } else {
                   look_later(record.name);
                 }
                 changes_.unlock(record.name);
                 done(written);
               }));
}

}  // namespace ember
