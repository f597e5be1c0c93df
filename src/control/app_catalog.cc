#include "control/app_catalog.h"

#include <algorithm>
#include <span>

namespace ember {
namespace {

constexpr std::size_t kShownName = 64;

std::size_t bucket_of(std::span<const std::int64_t> limits_ms, Duration value) {
  const auto fits = [&](std::int64_t limit_ms) { return value.us <= limit_ms * 1000; };
  return static_cast<std::size_t>(std::ranges::find_if(limits_ms, fits) - limits_ms.begin());
}

}  // namespace

void FunctionStats::add_invocation(Duration execute) {
  ++invoke_buckets[bucket_of(kInvokeBucketsMs, execute)];
  invoke_sum_us += execute.us;
}

void FunctionStats::add_start(Duration init) {
  ++init_buckets[bucket_of(kInitBucketsMs, init)];
  init_sum_us += init.us;
}

std::size_t AppCatalog::CallableHash::operator()(const CallableKey& key) const {
  const std::hash<std::string_view> hash;
  return hash(key.app) * 31 + hash(key.function);
}

void AppCatalog::settle(GpuDemand& demand) const {
  if (demand.least_vram_bytes > 0) demand.choices = ranked_gpus_;
}

Result<std::vector<FunctionPtr>> AppCatalog::functions_of(const VersionRecord& version,
                                                          const std::string& app_name) const {
  const App* app = find_app(app_name);
  std::vector<FunctionPtr> functions;
  for (const FunctionRecord& record : version.functions) {
    auto document = parse_json(record.spec_json, record.name, record.spec_json.size());
    if (!document) return std::move(document).error();
    auto spec = parse_function_spec(*document, "");
    if (!spec) return std::move(spec).error();
    settle(spec->settings.resources.gpu);
    std::shared_ptr<FunctionLine> line;
    if (app && app->lines.contains(record.name)) line = app->lines.at(record.name);
    if (!line) line = std::make_shared<FunctionLine>(FunctionLine{record.id, {}});
    functions.push_back(std::make_shared<Function>(Function{version.app,
                                                            app_name,
                                                            version.version,
                                                            version.source,
                                                            record.pool,
                                                            std::move(spec).value(),
                                                            std::move(line),
                                                            {}}));
  }
  return functions;
}

void AppCatalog::set_current(const AppRecord& record, std::string source,
                             std::vector<FunctionPtr> functions) {
  App& app = apps_[record.name];
  withdraw(app);
  app.record = record;
  app.source = std::move(source);
  app.functions = std::move(functions);
  for (const FunctionPtr& function : app.functions) {
    app.lines[function->spec.name] = function->line;
    callable_[{function->app_name, function->spec.name}] = function;
  }
  remember(app.functions);
  forget_expired_pools();
}

void AppCatalog::set_stopped(const AppRecord& record) {
  App& app = apps_[record.name];
  withdraw(app);
  app.record = record;
  app.lease_ends = Time::never();
}

void AppCatalog::remember(const std::vector<FunctionPtr>& functions) {
  for (const FunctionPtr& function : functions) pools_[function->pool] = function;
}

void AppCatalog::withdraw(App& app) {
  for (const FunctionPtr& function : app.functions) {
    callable_.erase({function->app_name, function->spec.name});
  }
  app.functions.clear();
}

void AppCatalog::forget_expired_pools() {
  boost::unordered::erase_if(pools_, [](const auto& entry) { return entry.second.expired(); });
}

App* AppCatalog::find_app(std::string_view name) {
  const auto found = apps_.find(name);
  return found == apps_.end() ? nullptr : &found->second;
}

const App* AppCatalog::find_app(std::string_view name) const {
  return const_cast<AppCatalog*>(this)->find_app(name);
}

Error AppCatalog::no_such_app(std::string_view name) {
  return {ErrorCode::not_found, "there is no app \"" + std::string(name.substr(0, kShownName)) +
                                    "\"; `ember app list` shows those there are"};
}

Error AppCatalog::not_running(std::string_view name) const {
  const App* app = find_app(name);
  if (!app) return no_such_app(name);
  return {ErrorCode::not_found, "the app " + app->name() + " is stopped; deploy it again"};
}

const FunctionPtr* AppCatalog::find_callable(std::string_view app,
                                             std::string_view function) const {
  const auto found = callable_.find(CallableKey{app, function});
  return found == callable_.end() ? nullptr : &found->second;
}

FunctionPtr AppCatalog::by_pool(PoolId pool) const {
  const auto found = pools_.find(pool);
  return found == pools_.end() ? nullptr : found->second.lock();
}

FunctionId AppCatalog::line_id(std::string_view app, const std::string& function) const {
  const App* found = find_app(app);
  if (!found || !found->lines.contains(function)) return {};
  return found->lines.at(function)->id;
}

std::vector<PoolSpec> pool_specs(const std::vector<FunctionPtr>& functions) {
  std::vector<PoolSpec> specs;
  for (const FunctionPtr& function : functions) {
    specs.push_back({function->pool, function->line->id, function->spec.settings});
  }
  return specs;
}

}  // namespace ember
