#include "control/app_catalog.h"

#include <algorithm>
#include <span>

#include "control/error_body.h"
#include "control/variant_spec.h"

namespace ember {
namespace {

constexpr std::size_t kShownName = 64;

std::size_t bucket_of(std::span<const std::int64_t> limits_ms, Duration value) {
  const auto fits = [&](std::int64_t limit_ms) { return value.us <= limit_ms * 1000; };
  return static_cast<std::size_t>(std::ranges::find_if(limits_ms, fits) - limits_ms.begin());
}

}  // namespace

std::string StartFailure::first_line() const {
  const std::string text = body.empty() ? message : read_error_body(body).message;
  return text.substr(0, text.find('\n'));
}

std::vector<FunctionPtr> App::all_functions() const {
  std::vector<FunctionPtr> all = functions;
  all.insert(all.end(), rising.begin(), rising.end());
  return all;
}

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

std::string callable_name(const Function& function, std::uint8_t method) {
  const auto& methods = function.spec.of_class.methods;
  if (method >= methods.size()) return function.spec.name;
  return function.spec.name + "." + methods[method].name;
}

std::vector<WebCallable> web_callables(std::string_view app, const FunctionSpec& spec) {
  std::vector<WebCallable> found;
  std::uint8_t method = 0;
  do {
    const auto& web = web_of(spec, method);
    if (!web) continue;
    std::string name = spec.name;
    if (spec.of_class.is_class()) name.append(".").append(spec.of_class.methods[method].name);
    std::string label = label_of(*web, app, name);
    found.push_back({std::move(name), std::move(label), method, web->access});
  } while (++method < spec.of_class.methods.size());
  return found;
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
    functions.push_back(std::make_shared<Function>(
        Function{version.app, app_name, version.version, version.source, record.pool,
                 std::move(spec).value(), std::move(line)}));
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
    for (const WebCallable& web : web_callables(function->app_name, function->spec)) {
      labels_[web.label] = {function, web.method};
    }
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
    for (const WebCallable& web : web_callables(function->app_name, function->spec)) {
      labels_.erase(web.label);
    }
  }
  for (const auto& [id, variant] : app.variants) variants_.erase(id);
  app.functions.clear();
  app.variants.clear();
  app.rising.clear();
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

const FunctionPtr* AppCatalog::find_function(std::string_view app,
                                             std::string_view function) const {
  const auto found = callable_.find(CallableKey{app, function});
  return found == callable_.end() ? nullptr : &found->second;
}

Callable AppCatalog::find_callable(std::string_view app, std::string_view name) const {
  const FunctionPtr* exact = find_function(app, name);
  if (exact && !(*exact)->spec.of_class.is_class()) return {exact};
  const std::size_t dot = name.rfind('.');
  if (dot == name.npos) return {};
  const FunctionPtr* owner = find_function(app, name.substr(0, dot));
  const auto method = owner ? (*owner)->spec.of_class.find(name.substr(dot + 1)) : std::nullopt;
  return method ? Callable{owner, *method} : Callable{};
}

Callable AppCatalog::find_label(std::string_view label) const {
  const auto found = labels_.find(label);
  if (found == labels_.end()) return {};
  return {&found->second.function, found->second.method};
}

const FunctionPtr* AppCatalog::find_variant(const Function& deployed, std::string_view id) const {
  const auto wanted = VariantId::parse(id);
  const auto found = wanted ? variants_.find(*wanted) : variants_.end();
  const bool is_its = found != variants_.end() && found->second->line == deployed.line;
  return is_its ? &found->second : nullptr;
}

Result<FunctionPtr> AppCatalog::variant_of(const Function& deployed,
                                           const VariantRecord& record) const {
  auto spec = spec_with(deployed.spec, record.options_json);
  if (!spec) return std::move(spec).error();
  settle(spec->settings.resources.gpu);
  auto variant = std::make_shared<Function>(deployed);
  variant->pool = record.pool;
  variant->spec = std::move(spec).value();
  variant->scaling = variant->spec.settings.scaling;
  variant->last_start_failure = {};
  variant->starts = {};
  variant->replaces = {};
  variant->own_containers = 0;
  variant->variant = record.id;
  variant->variant_line = record.line;
  variant->class_arguments = record.parameters_json;
  variant->options = record.options_json;
  variant->used = record.created;
  return variant;
}

void AppCatalog::add_variant(const FunctionPtr& variant) {
  apps_.at(variant->app_name).variants[variant->variant] = variant;
  variants_[variant->variant] = variant;
  remember({variant});
}

void AppCatalog::drop_variant(const Function& variant) {
  const VariantId id = variant.variant;
  apps_.at(variant.app_name).variants.erase(id);
  variants_.erase(id);
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

PoolSpec pool_spec(const Function& function) {
  PoolSpec spec{function.pool, function.counted_as(), function.spec.settings, function.spec.spread};
  spec.settings.scaling = function.scaling;
  if (!function.variant && function.spec.of_class.needs_parameters()) {
    // Nobody can call it, and none of its containers could make an instance.
    spec.settings.scaling.min_containers = 0;
    spec.settings.scaling.buffer_containers = 0;
  }
  if (function.own_containers > 0) {
    spec.replaces = function.replaces;
    spec.settings.scaling.min_containers = function.own_containers;
    spec.settings.scaling.buffer_containers = 0;
  }
  return spec;
}

std::vector<PoolSpec> pool_specs(const App& app) {
  std::vector<PoolSpec> specs;
  for (const FunctionPtr& function : app.functions) specs.push_back(pool_spec(*function));
  for (const auto& [id, variant] : app.variants) specs.push_back(pool_spec(*variant));
  for (const FunctionPtr& function : app.rising) {
    if (function->own_containers > 0) specs.push_back(pool_spec(*function));
  }
  return specs;
}

}  // namespace ember
