#include "control/listings.h"

#include <algorithm>

#include "control/call_progress.h"

namespace ember {
namespace {

constexpr std::size_t kMostCalls = 10'000;

std::string_view state_name(ContainerState state) {
  switch (state) {
    case ContainerState::placed:
      return "placed";
    case ContainerState::booting:
      return "booting";
    case ContainerState::loading:
      return "loading";
    case ContainerState::idle:
      return "idle";
    case ContainerState::busy:
      return "busy";
    case ContainerState::stopping:
      return "stopping";
  }
  return "";
}

std::string_view app_state(const App& app) {
  if (app.record.stopped) return "stopped";
  return app.record.ephemeral ? "ephemeral" : "deployed";
}

std::uint32_t containers_of(const PoolView& pool) {
  return pool.starting + pool.idle + pool.busy + pool.stopping;
}

bool waits_for_container(ReasonCode code) {
  return code == ReasonCode::waiting_for_start || code == ReasonCode::waiting_for_resources ||
         code == ReasonCode::waiting_for_backoff || code == ReasonCode::waiting_after_refusal;
}

JsonValue error_of(const FinishedCall& call) {
  if (!call.error) return nullptr;
  const bool told = !call.told_code.empty();
  return {{"code", told ? call.told_code : error_name(call.error->code)},
          {"message", call.error->message}};
}

template <class Record>
JsonValue parent_of(const Record& call) {
  return call.parent ? JsonValue(call.parent.text()) : JsonValue();
}

JsonValue steps_entry(const StartSteps& steps) {
  return {{"placed", steps.placed_us},
          {"sandbox", steps.sandbox_us},
          {"interpreter", steps.interpreter_us},
          {"imports", steps.imports_us},
          {"load", steps.load_us}};
}

}  // namespace

JsonValue Listings::app_entry(const App& app, const std::vector<PoolView>& pools) const {
  std::uint32_t containers = 0;
  for (const PoolView& pool : pools) {
    if (pool.app == app.record.id) containers += containers_of(pool);
  }
  JsonValue web = JsonValue::array();
  for (const FunctionPtr& function : app.functions) {
    for (JsonValue& endpoint : deployments_.web_json(*function)) web.push_back(std::move(endpoint));
  }
  return {{"name", app.name()},
          {"app_id", app.record.id.text()},
          {"version", app.record.version},
          {"state", app_state(app)},
          {"rollout", rollout_of(app)},
          {"updated_ms", app.record.updated.whole_ms()},
          {"functions", app.functions.size()},
          {"containers", containers},
          {"web", std::move(web)}};
}

JsonValue Listings::rollout_of(const App& app) const {
  if (app.rising.empty()) return {};
  return {{"version", app.record.newest}, {"waits_for", deployments_.rollouts().waits_for(app)}};
}

std::string Listings::apps() const {
  const auto pools = driver_.engine().pools();
  JsonValue list = JsonValue::array();
  for (const auto& [name, app] : catalog_.apps()) list.push_back(app_entry(app, pools));
  return dump_json({{"apps", std::move(list)}});
}

PoolView Listings::pool_of(const Function& function) const {
  return driver_.engine().pool(function.pool).value_or(PoolView{});
}

// The engine hears of a lost node after a while only, and the last failed start's own words never.
std::string Listings::text_of(const Reason& reason, const Function& function) const {
  if (!waits_for_container(reason.code)) return reason.text();
  if (!fleet_.is_connected()) return Reason{ReasonCode::waiting_for_node}.text();
  const PoolView pool = pool_of(function);
  const std::string last = function.last_start_failure.first_line();
  if (pool.failed_starts + pool.refused_starts == 0 || last.empty()) return reason.text();
  return reason.text() + "; the last try: " + last;
}

JsonValue Listings::pool_entry(const Function& function) const {
  const PoolView pool = pool_of(function);
  const Reason& reason =
      pool.wait_reason.code != ReasonCode::none ? pool.wait_reason : pool.scale_reason;
  return {{"waiting", pool.waiting},
          {"running", pool.running},
          {"containers", {{"starting", pool.starting}, {"idle", pool.idle}, {"busy", pool.busy}}},
          {"desired", pool.desired},
          {"reason", reason.code == ReasonCode::none ? "" : text_of(reason, function)}};
}

JsonValue Listings::variants_of(const App& app, const Function& function) const {
  JsonValue list = JsonValue::array();
  for (const auto& [id, variant] : app.variants) {
    if (variant->line != function.line) continue;
    JsonValue entry = {{"variant", id.text()},
                       {"parameters", JsonValue::parse(variant->class_arguments, nullptr, false)},
                       {"options", JsonValue::parse(variant->options, nullptr, false)}};
    entry.update(pool_entry(*variant));
    list.push_back(std::move(entry));
  }
  return list;
}

JsonValue Listings::function_entry(const App& app, const Function& function) const {
  FunctionSettings settings = function.spec.settings;
  settings.scaling = function.scaling;
  JsonValue entry = {{"name", function.spec.name},
                     {"function_id", function.line->id.text()},
                     {"url", deployments_.function_url(function)},
                     {"web", deployments_.web_json(function)},
                     {"gpu", function.spec.settings.resources.gpu.text()},
                     {"network", to_json(function.spec.sandbox.network)},
                     {"isolation", isolation_class_name(function.spec.sandbox.isolation)},
                     {"ephemeral_disk_bytes", function.spec.sandbox.ephemeral_disk_bytes},
                     {"settings", to_json(settings)},
                     {"parameters", JsonValue::parse(function.spec.parameters, nullptr, false)},
                     {"methods", methods_json(function.spec.of_class)},
                     {"class_parameters", parameters_json(function.spec.of_class)},
                     {"variants", variants_of(app, function)}};
  entry.update(pool_entry(function));
  return entry;
}

Result<std::string> Listings::app(std::string_view name) const {
  const App* app = catalog_.find_app(name);
  if (!app) return AppCatalog::no_such_app(name);
  JsonValue document = app_entry(*app, driver_.engine().pools());
  JsonValue functions = JsonValue::array();
  for (const FunctionPtr& function : app->functions)
    functions.push_back(function_entry(*app, *function));
  document["functions"] = std::move(functions);
  return dump_json(document);
}

JsonValue Listings::container_entry(const ContainerView& view) const {
  const Container& container = *containers_.find(view.container);
  const Function& function = *container.function;
  JsonValue devices = JsonValue::array();
  for (const DeviceId device : view.devices) devices.push_back(device.text());
  const bool idle = view.state == ContainerState::idle;
  const bool stopping = view.state == ContainerState::stopping;
  const Reason& reason = stopping ? view.stop_reason : view.start_reason;
  const DroppedLogs dropped = logs_.dropped_by(view.container);
  return {
      {"container_id", view.container.text()},
      {"app", function.app_name},
      {"function", function.spec.name},
      {"variant", function.variant ? JsonValue(function.variant.text()) : JsonValue()},
      {"version", function.version},
      {"node_id", view.node.text()},
      {"state", state_name(view.state)},
      {"gpu", container.tariff->gpu_text()},
      {"devices", std::move(devices)},
      {"simulated", container.tariff->simulated},
      {"inputs", view.inputs},
      {"started_ms", container.started.whole_ms()},
      {"idle_ms", idle ? (driver_.now() - view.idle_since).whole_ms() : 0},
      {"log_lines_dropped", dropped.lines},
      {"log_bytes_dropped", dropped.bytes},
      {"reason", container.adopted && !stopping ? "it outlived an earlier server" : reason.text()}};
}

std::string Listings::containers() const {
  JsonValue list = JsonValue::array();
  for (const ContainerView& view : driver_.engine().containers()) {
    list.push_back(container_entry(view));
  }
  return dump_json({{"containers", std::move(list)}});
}

// A lease goes before what the node says: it is the person's own programs that use the device.
JsonValue Listings::device_entry(const NodeView& node, const Device& device) const {
  JsonValue containers = JsonValue::array();
  std::int64_t shared_bytes = 0;
  for (const DeviceHold& hold : node.holds) {
    if (hold.device != device.id) continue;
    containers.push_back(
        {{"container_id", hold.container.text()}, {"vram_bytes", hold.share_bytes}});
    shared_bytes += hold.share_bytes;
  }
  const std::string leased = leases_.why_leased(device.id);
  const bool is_leased = !leased.empty() && device.state != DeviceState::cordoned;
  std::string reason = is_leased ? leased : device.reason;
  if (shared_bytes > 0 && reason.empty()) {
    reason = vram_text(std::max<std::int64_t>(0, device.vram_bytes - shared_bytes)) + " of " +
             vram_text(device.vram_bytes) + " are left to share";
  }
  return {{"device_id", device.id.text()},
          {"type", device.type},
          {"uuid", device.uuid},
          {"vram_bytes", device.vram_bytes},
          {"vram_bytes_shared", shared_bytes},
          {"simulated", device.simulated},
          {"state", is_leased ? "leased" : device_state_name(device.state)},
          {"reason", std::move(reason)},
          {"container_id", containers.empty() ? JsonValue() : containers[0]["container_id"]},
          {"containers", std::move(containers)}};
}

std::string Listings::nodes() const {
  JsonValue list = JsonValue::array();
  for (const NodeView& node : driver_.engine().nodes()) {
    JsonValue devices = JsonValue::array();
    for (const Device& device : node.capacity.devices) {
      devices.push_back(device_entry(node, device));
    }
    list.push_back({{"node_id", node.node.text()},
                    {"name", fleet_.hello().name},
                    {"cpu_millicores", node.capacity.cpu_millicores},
                    {"cpu_millicores_free", node.cpu_millicores_free},
                    {"memory_bytes", node.capacity.memory_bytes},
                    {"memory_bytes_free", node.memory_bytes_free},
                    {"devices", std::move(devices)}});
  }
  return dump_json({{"nodes", std::move(list)}});
}

// Null while it has not come to a container.
JsonValue Listings::is_cold(const Call& call) const {
  const Container* container = containers_.find(call.container);
  if (!container) return nullptr;
  return !container->adopted && container->ready >= call.arrived;
}

JsonValue Listings::call_entry(const Call& call) const {
  const Time now = driver_.now();
  const auto reason = driver_.engine().explain(InputId{call.id.value});
  const bool running = reason && reason->code == ReasonCode::running;
  const std::int64_t waited_us = (now - call.arrived).us;
  return {{"call_id", call.id.text()},
          {"app", call.function->app_name},
          {"function", callable_name(*call.function, call.method)},
          {"state", call_state_name(running ? CallState::running : CallState::waiting)},
          {"arrived_ms", call.arrived.whole_ms()},
          {"cold", is_cold(call)},
          {"queued_us", running ? (call.dispatched - call.arrived).us : waited_us},
          {"execute_us", running ? (now - call.dispatched).us : 0},
          {"total_us", waited_us},
          {"cost_usd", call.earlier_cost.decimal()},
          {"parent_call_id", parent_of(call)},
          {"progress", to_json(call.progress)}};
}

JsonValue Listings::call_entry(const FinishedCall& call) const {
  return {{"call_id", call.id.text()},
          {"app", call.function->app_name},
          {"function", callable_name(*call.function, call.method)},
          {"state", call_state_name(call.state)},
          {"arrived_ms", call.arrived.whole_ms()},
          {"cold", call.report.attempt ? JsonValue(call.report.cold) : JsonValue()},
          {"queued_us", call.report.queued_us},
          {"execute_us", call.report.execute_us},
          {"total_us", call.report.total_us},
          {"cost_usd", call.report.cost.decimal()},
          {"parent_call_id", parent_of(call)},
          {"progress", to_json(call.progress)}};
}

std::string Listings::why(const Call& call) const {
  const auto reason = driver_.engine().explain(InputId{call.id.value});
  if (!reason) return "";
  std::string text = text_of(*reason, *call.function);
  if (reason->code == ReasonCode::running) text += awaited_by(call);
  return text;
}

// Of the calls that it has made, those that it waits for.
std::string Listings::awaited_by(const Call& call) const {
  const std::vector<CallId> children = calls_.children_of(call.id);
  const auto awaited = std::ranges::count_if(children, [this](CallId id) {
    const Call* child = calls_.find(id);
    return child && child->bond == Bond::waited_for;
  });
  if (awaited == 0) return "";
  return "; waits for " + std::to_string(awaited) + (awaited == 1 ? " call" : " calls") +
         " that it has made";
}

std::string Listings::furthest_start(const Function& function) const {
  std::optional<ContainerState> furthest;
  if (!fleet_.is_connected()) return "";
  for (const ContainerView& view : driver_.engine().containers()) {
    const bool starts = view.state == ContainerState::placed ||
                        view.state == ContainerState::booting ||
                        view.state == ContainerState::loading;
    if (view.pool == function.pool && starts) {
      furthest = std::max(furthest.value_or(view.state), view.state);
    }
  }
  if (!furthest) return "";
  const char* phase = *furthest == ContainerState::loading
                          ? "; its code is being loaded"
                          : "; its sandbox and its interpreter are being started";
  return *furthest == ContainerState::placed ? "; its node has not begun yet" : phase;
}

// Of a call with so many inputs before it, while containers start: as each of them is ready it
// takes as many as it has room for.
std::optional<Duration> Listings::left_to_start(const Function& function,
                                                std::int64_t ahead) const {
  const auto usual = function.line->usual_start.duration();
  const std::size_t inputs_of_slot = std::max(1u, function.spec.settings.batching.max_batch_size);
  const std::size_t room = function.scaling.max_inputs * inputs_of_slot;
  const auto begun = function.starts.begun(static_cast<std::size_t>(ahead) / room);
  if (!usual || !begun) return std::nullopt;
  return std::max(Duration{0}, *usual - (driver_.now() - *begun));
}

CallStatus Listings::status(CallId id) const {
  CallStatus status;
  const Call* call = calls_.find(id);
  const auto reason = driver_.engine().explain(InputId{id.value});
  if (!call || !reason) return status;
  status.reason = text_of(*reason, *call->function);
  if (reason->code == ReasonCode::running) status.phase = CallPhase::running;
  if (reason->code == ReasonCode::waiting_for_start) {
    status.phase = CallPhase::starting;
    status.left = left_to_start(*call->function, reason->b);
  }
  const bool counted =
      reason->code == ReasonCode::waiting_for_slot || reason->code == ReasonCode::waiting_for_start;
  if (counted) status.ahead = reason->b;
  return status;
}

std::string Listings::calls(std::string_view app, std::size_t limit) const {
  limit = std::min(limit, kMostCalls);
  JsonValue list = JsonValue::array();
  for (const Call* call : calls_.live_calls()) {
    if (list.size() == limit) break;
    if (app.empty() || call->function->app_name == app) list.push_back(call_entry(*call));
  }
  for (const FinishedCall* call : calls_.finished_calls(app, limit - list.size())) {
    list.push_back(call_entry(*call));
  }
  return dump_json({{"calls", std::move(list)}});
}

Result<std::string> Listings::call(CallId id) const {
  if (const Call* live = calls_.find(id)) {
    JsonValue document = call_entry(*live);
    const CallStatus told = status(id);
    const std::string step =
        told.phase == CallPhase::starting ? furthest_start(*live->function) : std::string();
    document["reason"] = why(*live) + step;
    document["ahead"] = told.ahead;
    document["left_ms"] = told.left ? JsonValue(told.left->whole_ms()) : JsonValue();
    document["container_id"] = live->container ? JsonValue(live->container.text()) : JsonValue();
    document["attempt"] = live->attempt;
    document["phases_ms"] = {{"queue", document["queued_us"].get<std::int64_t>() / 1000},
                             {"boot", 0},
                             {"load", 0},
                             {"execute", document["execute_us"].get<std::int64_t>() / 1000}};
    document["start_us"] = nullptr;
    document["error"] = nullptr;
    return dump_json(document);
  }
  const FinishedCall* call = calls_.find_finished(id);
  if (!call) return CallTable::no_such_call(id);
  JsonValue document = call_entry(*call);
  const CallReport& report = call->report;
  document["reason"] = "it has ended";
  document["container_id"] = report.container ? JsonValue(report.container.text()) : JsonValue();
  document["attempt"] = report.attempt;
  document["phases_ms"] = {{"queue", report.queued_us / 1000},
                           {"boot", report.boot_ms},
                           {"load", report.load_ms},
                           {"execute", report.execute_us / 1000}};
  document["start_us"] = report.cold ? steps_entry(call->start) : JsonValue();
  document["error"] = error_of(*call);
  return dump_json(document);
}

namespace {

const char* version_state(const VersionRecord& version, const History& now) {
  if (version.version == now.current) return now.stopped ? "stopped" : "serving";
  if (version.version == now.rolled_out) return "rolling";
  return version.withdrawn.empty() ? "replaced" : "withdrawn";
}

}  // namespace

std::string history_document(const std::vector<VersionRecord>& versions, const History& now) {
  JsonValue list = JsonValue::array();
  for (const VersionRecord& version : versions) {
    JsonValue names = JsonValue::array();
    for (const FunctionRecord& function : version.functions) names.push_back(function.name);
    list.push_back(
        {{"version", version.version},
         {"created_ms", version.created.whole_ms()},
         {"message", version.message},
         {"current", version.version == now.current},
         {"state", version_state(version, now)},
         {"reason", version.version == now.rolled_out ? now.waits_for : version.withdrawn},
         {"functions", std::move(names)}});
  }
  return dump_json({{"versions", std::move(list)}});
}

}  // namespace ember
