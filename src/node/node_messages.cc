#include "node/node_messages.h"

#include <algorithm>
#include <optional>

#include "node/json_bounds.h"
#include "node/json_fields.h"

namespace ember {
namespace {

using Json = nlohmann::json;

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

// Bytes that are not UTF-8 (a runner's last output may hold any) are replaced, never refused.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

template <class Id>
Json texts(const std::vector<Id>& ids) {
  Json all = Json::array();
  for (const auto& id : ids) all.push_back(id.text());
  return all;
}

// --- images -----------------------------------------------------------------------------------

Json to_json(const ImageStep& step) {
  Json json{{"kind", step.kind}, {"arguments", step.arguments}};
  if (!step.options.empty()) json["options"] = step.options;
  if (!step.files.empty()) json["files"] = step.files;
  return json;
}

Json to_json(const ImageSpec& spec) {
  Json steps = Json::array();
  for (const ImageStep& step : spec.steps) steps.push_back(to_json(step));
  return {{"base", to_json(spec.base)}, {"steps", std::move(steps)}};
}

ImageStep read_step(JsonFields& fields) {
  return {.kind = fields.text("kind"),
          .arguments = fields.texts("arguments"),
          .options = fields.text_map_or_none("options"),
          .files = fields.text_or("files", "")};
}

ImageSpec read_image(JsonFields& fields) {
  ImageSpec spec;
  fields.object("base", [&](JsonFields& base) { spec.base = read_step(base); });
  fields.objects("steps", [&](JsonFields& step) { spec.steps.push_back(read_step(step)); });
  return spec;
}

// --- containers -------------------------------------------------------------------------------

Json to_json(const Resources& resources) {
  Json gpu = Json::array();
  for (const GpuChoice& choice : resources.gpu.choices) {
    gpu.push_back({{"type", choice.type}, {"count", choice.count}});
  }
  return {{"cpu_millicores", resources.cpu_millicores},
          {"memory_bytes", resources.memory_bytes},
          {"gpu", std::move(gpu)},
          {"gpu_share_bytes", resources.gpu.share_bytes}};
}

Resources read_resources(JsonFields& fields) {
  Resources resources{.cpu_millicores = fields.integer("cpu_millicores"),
                      .memory_bytes = fields.integer("memory_bytes"),
                      .gpu = {}};
  resources.gpu.share_bytes = fields.integer("gpu_share_bytes");
  fields.objects("gpu", [&](JsonFields& choice) {
    resources.gpu.choices.push_back(
        {.type = choice.text("type"), .count = choice.narrow<std::uint32_t>("count")});
  });
  return resources;
}

Json to_json(const VolumeOverlay& volume) {
  return {{"path", volume.path}, {"lowers", volume.lowers}, {"upper", volume.upper}};
}

VolumeOverlay read_volume(JsonFields& fields) {
  return {
      .path = fields.text("path"), .lowers = fields.texts("lowers"), .upper = fields.text("upper")};
}

Json to_json(const std::vector<VolumeOverlay>& volumes) {
  Json all = Json::array();
  for (const VolumeOverlay& volume : volumes) all.push_back(to_json(volume));
  return all;
}

std::vector<VolumeOverlay> read_volumes(JsonFields& fields) {
  std::vector<VolumeOverlay> volumes;
  fields.objects("volumes", [&](JsonFields& one) { volumes.push_back(read_volume(one)); });
  return volumes;
}

Json to_json(const SandboxSettings& sandbox) {
  Json json{{"network", network_access_name(sandbox.network.access)},
            {"isolation", isolation_class_name(sandbox.isolation)},
            {"ephemeral_disk_bytes", sandbox.ephemeral_disk_bytes}};
  if (sandbox.network.access == NetworkAccess::listed) {
    json["destinations"] = sandbox.network.destinations;
  }
  return json;
}

SandboxSettings read_sandbox(JsonFields& fields) {
  SandboxSettings sandbox;
  const std::string access = fields.text("network");
  auto network = access == network_access_name(NetworkAccess::listed)
                     ? listed_destinations(fields.texts_or_none("destinations"))
                     : parse_network_policy(access);
  if (!network.ok()) fields.wrong("network");
  sandbox.network = network.ok() ? std::move(*network) : NetworkPolicy{NetworkAccess::none};
  const auto isolation = parse_isolation_class(fields.text("isolation"));
  if (!isolation.ok()) fields.wrong("isolation");
  sandbox.isolation = isolation.ok() ? *isolation : IsolationClass::of_the_node;
  sandbox.ephemeral_disk_bytes = fields.integer("ephemeral_disk_bytes");
  if (!check_ephemeral_disk(sandbox.ephemeral_disk_bytes).ok()) {
    fields.wrong("ephemeral_disk_bytes");
  }
  return sandbox;
}

Json to_json(const ContainerSpec& spec) {
  Json env = Json::array();
  for (const auto& [name, value] : spec.env) env.push_back({{"name", name}, {"value", value}});
  return {{"container", spec.container.text()},
          {"image", to_json(spec.image)},
          {"resources", to_json(spec.resources)},
          {"devices", texts(spec.devices)},
          {"env", std::move(env)},
          {"sandbox", to_json(spec.sandbox)},
          {"volumes", to_json(spec.volumes)},
          {"function", spec.function_json},
          {"labels", spec.labels_json}};
}

ContainerSpec read_spec(JsonFields& fields) {
  ContainerSpec spec;
  spec.container = fields.id<ContainerId>("container");
  fields.object("image", [&](JsonFields& image) { spec.image = read_image(image); });
  fields.object("resources", [&](JsonFields& some) { spec.resources = read_resources(some); });
  spec.devices = fields.ids<DeviceId>("devices");
  fields.objects("env", [&](JsonFields& entry) {
    spec.env.emplace_back(entry.text("name"), entry.text("value"));
  });
  fields.object("sandbox", [&](JsonFields& some) { spec.sandbox = read_sandbox(some); });
  spec.volumes = read_volumes(fields);
  spec.function_json = fields.text("function");
  spec.labels_json = fields.text("labels");
  return spec;
}

Json to_json(const SurvivingContainer& container) {
  return {{"container", container.container.text()},
          {"labels", container.labels_json},
          {"devices", texts(container.devices)},
          {"started_us", container.started.us},
          {"egress_bytes", container.egress_bytes}};
}

Json to_json(const ContainerExit& exit) {
  return {{"type", "exited"},
          {"container", exit.container.text()},
          {"labels", exit.labels_json},
          {"started_us", exit.started.us},
          {"at_us", exit.at.us},
          {"devices", texts(exit.devices)},
          {"egress_bytes", exit.egress_bytes},
          {"out_of_memory", exit.out_of_memory},
          {"gpu_used_bytes", exit.gpu_used_bytes},
          {"fault", exit.fault},
          {"exit_status", exit.exit_status},
          {"signal", exit.signal},
          {"last_output", exit.last_output}};
}

// One that an earlier version has left on disk lacks what that did not tell of.
ContainerExit read_exit(JsonFields& fields) {
  return {.container = fields.id<ContainerId>("container"),
          .labels_json = fields.text("labels"),
          .started = fields.time("started_us"),
          .at = fields.time("at_us"),
          .devices = fields.ids<DeviceId>("devices"),
          .egress_bytes = fields.integer_or("egress_bytes", 0),
          .out_of_memory = fields.flag("out_of_memory"),
          .gpu_used_bytes = fields.integer_or("gpu_used_bytes", 0),
          .fault = fields.text_or("fault", ""),
          .exit_status = fields.narrow<int>("exit_status"),
          .signal = fields.narrow<int>("signal"),
          .last_output = fields.text("last_output")};
}

// --- nodes ------------------------------------------------------------------------------------

Json to_json(const std::vector<Device>& devices) {
  Json all = Json::array();
  for (const Device& device : devices) {
    all.push_back({{"id", device.id.text()},
                   {"type", device.type},
                   {"vram_bytes", device.vram_bytes},
                   {"simulated", device.simulated},
                   {"state", device_state_name(device.state)},
                   {"reason", device.reason},
                   {"uuid", device.uuid}});
  }
  return all;
}

std::vector<Device> read_devices(JsonFields& fields) {
  std::vector<Device> devices;
  fields.objects("devices", [&](JsonFields& device) {
    const auto state = device_state_named(device.text("state"));
    if (!state) device.wrong("state");
    devices.push_back({.id = device.id<DeviceId>("id"),
                       .type = device.text("type"),
                       .vram_bytes = device.integer("vram_bytes"),
                       .simulated = device.flag("simulated"),
                       .state = state.value_or(DeviceState::available),
                       .reason = device.text("reason"),
                       .uuid = device.text("uuid")});
  });
  return devices;
}

Json to_json(const NodeCapacity& capacity) {
  return {{"cpu_millicores", capacity.cpu_millicores},
          {"memory_bytes", capacity.memory_bytes},
          {"devices", to_json(capacity.devices)}};
}

NodeCapacity read_capacity(JsonFields& fields) {
  return {.cpu_millicores = fields.integer("cpu_millicores"),
          .memory_bytes = fields.integer("memory_bytes"),
          .devices = read_devices(fields)};
}

Json to_json(const NodeHello& hello) {
  Json containers = Json::array();
  for (const auto& container : hello.containers) containers.push_back(to_json(container));
  return {{"type", "hello"},
          {"protocol", kNodeProtocolVersion},
          {"name", hello.name},
          {"node", hello.node.text()},
          {"capacity", to_json(hello.capacity)},
          {"isolation", hello.isolation},
          {"no_gvisor", hello.no_gvisor},
          {"network", hello.network},
          {"missing", hello.missing},
          {"containers", std::move(containers)}};
}

NodeHello read_hello(JsonFields& fields) {
  NodeHello hello;
  if (fields.integer("protocol") != kNodeProtocolVersion) fields.wrong("protocol");
  hello.name = fields.text("name");
  hello.node = fields.id<NodeId>("node");
  fields.object("capacity", [&](JsonFields& some) { hello.capacity = read_capacity(some); });
  hello.isolation = fields.text("isolation");
  hello.no_gvisor = fields.text("no_gvisor");
  hello.network = fields.text("network");
  hello.missing = fields.texts("missing");
  fields.objects("containers", [&](JsonFields& container) {
    hello.containers.push_back({.container = container.id<ContainerId>("container"),
                                .labels_json = container.text("labels"),
                                .devices = container.ids<DeviceId>("devices"),
                                .started = container.time("started_us"),
                                .egress_bytes = container.integer("egress_bytes")});
  });
  return hello;
}

Json to_json(const Error& error) {
  return {{"code", error_name(error.code)}, {"message", error.message}};
}

Json with_result(Json json, const Result<>& result) {
  if (!result.ok()) json["error"] = to_json(result.error());
  return json;
}

Json to_json(const ImageAnswer& answer) {
  Json json{{"type", "image_answer"}, {"query", answer.query}};
  if (answer.document.ok()) {
    json["document"] = *answer.document;
  } else {
    json["error"] = to_json(answer.document.error());
  }
  return json;
}

constexpr const char* kQueryKinds[] = {"list", "log", "prune"};

Json to_json(const ImageQuery& query) {
  Json images = Json::array();
  for (const ImageSpec& image : query.images) images.push_back(to_json(image));
  return {{"type", "image_query"},
          {"query", query.query},
          {"kind", kQueryKinds[static_cast<int>(query.kind)]},
          {"images", std::move(images)},
          {"max_bytes", query.max_bytes},
          {"unused_since_us", query.unused_since.us}};
}

ImageQuery read_query(JsonFields& fields) {
  ImageQuery query{.query = static_cast<std::uint64_t>(fields.integer("query")),
                   .max_bytes = fields.integer("max_bytes"),
                   .unused_since = fields.time("unused_since_us")};
  const std::string kind = fields.text("kind");
  const auto found = std::ranges::find(kQueryKinds, kind);
  if (found == std::end(kQueryKinds)) fields.wrong("kind");
  query.kind = static_cast<ImageQuery::Kind>(
      found == std::end(kQueryKinds) ? 0 : found - std::begin(kQueryKinds));
  fields.objects("images", [&](JsonFields& image) { query.images.push_back(read_image(image)); });
  return query;
}

ErrorCode error_code(std::string_view name) {
  for (int code = 0; code < static_cast<int>(ErrorCode::internal); ++code) {
    if (error_name(static_cast<ErrorCode>(code)) == name) return static_cast<ErrorCode>(code);
  }
  return ErrorCode::internal;
}

Error read_error(JsonFields& fields) {
  Error read{ErrorCode::internal, ""};
  fields.object("error", [&](JsonFields& error) {
    const std::string code = error.text("code");
    read = {error_code(code), error.text("message")};
  });
  return read;
}

Result<> read_result(JsonFields& fields, const Json& json) {
  if (json.contains("error")) return read_error(fields);
  return Ok{};
}

ImageAnswer read_answer(JsonFields& fields, const Json& json) {
  ImageAnswer answer{.query = static_cast<std::uint64_t>(fields.integer("query"))};
  if (json.contains("error")) {
    answer.document = read_error(fields);
  } else {
    answer.document = fields.text("document");
  }
  return answer;
}

// --- processes in containers --------------------------------------------------------------------

Json to_json(const ExecRequest& request) {
  Json json{{"type", "exec"},
            {"exec", request.exec.text()},
            {"container", request.container.text()},
            {"arguments", request.spec.arguments},
            {"terminal_type", request.spec.terminal_type}};
  if (const auto& size = request.spec.terminal) {
    json["terminal"] = {{"rows", size->rows}, {"columns", size->columns}};
  }
  return json;
}

ExecRequest read_exec(JsonFields& fields, const Json& json) {
  ExecRequest request{.exec = fields.id<ExecId>("exec"),
                      .container = fields.id<ContainerId>("container"),
                      .spec = {.arguments = fields.texts("arguments"),
                               .terminal = std::nullopt,
                               .terminal_type = fields.text("terminal_type")}};
  if (!json.contains("terminal")) return request;
  fields.object("terminal", [&](JsonFields& size) {
    request.spec.terminal = TerminalSize{.rows = size.narrow<std::uint16_t>("rows"),
                                         .columns = size.narrow<std::uint16_t>("columns")};
  });
  return request;
}

constexpr const char* kStreamNames[] = {"terminal", "input", "output", "errors"};
constexpr const char* kInspectionNames[] = {"processes", "stacks"};

template <class Kind, std::size_t size>
Kind read_kind(JsonFields& fields, const char* field, const char* const (&names)[size]) {
  const std::string name = fields.text(field);
  for (std::size_t i = 0; i < size; ++i) {
    if (name == names[i]) return static_cast<Kind>(i);
  }
  fields.wrong(field);
  return Kind{};
}

Json to_json(const ExecEnded& ended) {
  Json json{{"type", "exec_ended"}, {"exec", ended.exec.text()}};
  if (!ended.exit.ok()) {
    json["error"] = to_json(ended.exit.error());
  } else {
    json["status"] = ended.exit->status;
    json["signal"] = ended.exit->signal;
  }
  return json;
}

ExecEnded read_exec_ended(JsonFields& fields, const Json& json) {
  ExecEnded ended{.exec = fields.id<ExecId>("exec"), .exit = ExecExit{}};
  if (json.contains("error")) {
    ended.exit = read_error(fields);
  } else {
    ended.exit =
        ExecExit{.status = fields.narrow<int>("status"), .signal = fields.narrow<int>("signal")};
  }
  return ended;
}

Json to_json(const Inspected& inspected) {
  Json json{{"type", "inspected"}, {"question", inspected.question}};
  if (inspected.answer.ok()) {
    json["answer"] = *inspected.answer;
  } else {
    json["error"] = to_json(inspected.answer.error());
  }
  return json;
}

Inspected read_inspected(JsonFields& fields, const Json& json) {
  Inspected inspected{.question = fields.narrow<std::uint64_t>("question"),
                      .answer = std::string()};
  if (json.contains("error")) {
    inspected.answer = read_error(fields);
  } else {
    inspected.answer = fields.text("answer");
  }
  return inspected;
}

// --- choosing by type -------------------------------------------------------------------------

Json with_type(const char* type, Json json) {
  json["type"] = type;
  return json;
}

Json of_container(const char* type, ContainerId container) {
  return {{"type", type}, {"container", container.text()}};
}

template <class Message, class Choose>
Result<Message> decode(std::string_view text, Choose choose) {
  if (JsonBounds<Json>::check(text) != JsonShape::fine) {
    return {ErrorCode::invalid_argument, "the message is not JSON of a sensible shape"};
  }
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  JsonFields fields(json);
  Message message = choose(fields, json);
  if (auto fine = fields.check(); !fine.ok()) return std::move(fine).error();
  return message;
}

}  // namespace

std::string encode(const DriverMessage& message) {
  return dump(std::visit(
      Overloaded{
          [](const DriverHello& m) -> Json {
            return {{"type", "hello"}, {"protocol", m.protocol}};
          },
          [](const StartRequest& m) { return with_type("start", to_json(m.spec)); },
          [](const StopRequest& m) {
            Json json = of_container("stop", m.container);
            json["grace_us"] = m.grace.us;
            return json;
          },
          [](const InterruptRequest& m) { return of_container("interrupt", m.container); },
          [](const AcknowledgeExit& m) { return of_container("acknowledge", m.container); },
          [](const BuildCredentials& m) -> Json {
            return {{"type", "build_credentials"}, {"image_id", m.image_id}};
          },
          [](const BuildRequest& m) -> Json {
            return {{"type", "build"},
                    {"image_id", m.image_id},
                    {"spec", to_json(m.spec)},
                    {"push_to", m.push_to}};
          },
          [](const RemountRequest& m) {
            Json json = of_container("remount", m.container);
            json["volume"] = to_json(m.volume);
            return json;
          },
          [](const ImageQuery& m) { return to_json(m); },
          [](const ExecRequest& m) { return to_json(m); },
          [](const EndExecRequest& m) -> Json {
            return {{"type", "end_exec"}, {"exec", m.exec.text()}};
          },
          [](const InspectRequest& m) -> Json {
            Json json = of_container("inspect", m.container);
            json["question"] = m.question;
            json["what"] = kInspectionNames[static_cast<std::size_t>(m.what)];
            return json;
          },
      },
      message));
}

std::string encode(const NodeMessage& message) {
  return dump(std::visit(
      Overloaded{
          [](const NodeHello& m) { return to_json(m); },
          [](const StartedNotice& m) {
            Json json = of_container("started", m.container);
            json["at_us"] = m.at.us;
            return json;
          },
          [](const RefusedNotice& m) {
            Json json = of_container("refused", m.container);
            json["why"] = m.why;
            return json;
          },
          [](const EgressNotice& m) {
            Json json = of_container("egress", m.container);
            json["total_bytes"] = m.total_bytes;
            return json;
          },
          [](const DevicesNotice& m) -> Json {
            return {{"type", "devices"}, {"devices", to_json(m.devices)}, {"missing", m.missing}};
          },
          [](const ContainerExit& m) { return to_json(m); },
          [](const RunnerConnected& m) { return of_container("runner", m.container); },
          [](const BuildLine& m) -> Json {
            return {{"type", "build_line"}, {"image_id", m.image_id}, {"line", m.line}};
          },
          [](const ImageBuilt& m) {
            return with_result({{"type", "built"}, {"image_id", m.image_id}}, m.result);
          },
          [](const ImageAnswer& m) { return to_json(m); },
          [](const VolumeRemounted& m) {
            Json json = of_container("remounted", m.container);
            json["path"] = m.path;
            return with_result(std::move(json), m.result);
          },
          [](const ExecStreamReady& m) -> Json {
            return {{"type", "exec_stream"},
                    {"exec", m.exec.text()},
                    {"stream", kStreamNames[static_cast<std::size_t>(m.stream)]}};
          },
          [](const ExecEnded& m) { return to_json(m); },
          [](const Inspected& m) { return to_json(m); },
      },
      message));
}

Result<DriverMessage> decode_driver_message(std::string_view json) {
  return decode<DriverMessage>(json, [](JsonFields& fields, const Json& whole) -> DriverMessage {
    const std::string type = fields.text("type");
    if (type == "hello") {
      return DriverHello{.protocol = fields.narrow<int>("protocol")};
    }
    if (type == "start") return StartRequest{.spec = read_spec(fields)};
    if (type == "build_credentials") return BuildCredentials{fields.text("image_id")};
    if (type == "build") {
      BuildRequest build{.image_id = fields.text("image_id"), .spec = {}};
      fields.object("spec", [&](JsonFields& spec) { build.spec = read_image(spec); });
      build.push_to = fields.text("push_to");
      return build;
    }
    if (type == "image_query") return read_query(fields);
    if (type == "exec") return read_exec(fields, whole);
    if (type == "end_exec") return EndExecRequest{fields.id<ExecId>("exec")};
    const auto container = fields.id<ContainerId>("container");
    if (type == "inspect") {
      return InspectRequest{fields.narrow<std::uint64_t>("question"), container,
                            read_kind<ProcessQuery>(fields, "what", kInspectionNames)};
    }
    if (type == "stop") return StopRequest{container, {fields.integer("grace_us")}};
    if (type == "remount") {
      RemountRequest remount{container, {}};
      fields.object("volume", [&](JsonFields& volume) { remount.volume = read_volume(volume); });
      return remount;
    }
    if (type == "interrupt") return InterruptRequest{container};
    if (type == "acknowledge") return AcknowledgeExit{container};
    fields.wrong("type");
    return DriverHello{};
  });
}

Result<NodeMessage> decode_node_message(std::string_view json) {
  return decode<NodeMessage>(json, [](JsonFields& fields, const Json& whole) -> NodeMessage {
    const std::string type = fields.text("type");
    if (type == "hello") return read_hello(fields);
    if (type == "built") return ImageBuilt{fields.text("image_id"), read_result(fields, whole)};
    if (type == "build_line") return BuildLine{fields.text("image_id"), fields.text("line")};
    if (type == "image_answer") return read_answer(fields, whole);
    if (type == "exited") return read_exit(fields);
    if (type == "devices") return DevicesNotice{read_devices(fields), fields.texts("missing")};
    if (type == "exec_stream") {
      return ExecStreamReady{fields.id<ExecId>("exec"),
                             read_kind<ExecStream>(fields, "stream", kStreamNames)};
    }
    if (type == "exec_ended") return read_exec_ended(fields, whole);
    if (type == "inspected") return read_inspected(fields, whole);
    const auto container = fields.id<ContainerId>("container");
    if (type == "started") return StartedNotice{container, fields.time("at_us")};
    if (type == "refused") return RefusedNotice{container, fields.text("why")};
    if (type == "egress") return EgressNotice{container, fields.integer("total_bytes")};
    if (type == "runner") return RunnerConnected{container};
    if (type == "remounted") {
      return VolumeRemounted{container, fields.text("path"), read_result(fields, whole)};
    }
    fields.wrong("type");
    return NodeHello{};
  });
}

Result<ContainerExit> decode_exit(std::string_view json) {
  auto message = decode_node_message(json);
  if (!message.ok()) return std::move(message).error();
  if (auto* exit = std::get_if<ContainerExit>(&*message)) return std::move(*exit);
  return {ErrorCode::invalid_argument, "the message is not an exit"};
}

Result<ImageSpec> decode_image(std::string_view json) {
  return decode<ImageSpec>(
      json, [](JsonFields& fields, const Json&) -> ImageSpec { return read_image(fields); });
}

std::string canonical_json(const ImageSpec& spec) { return dump(to_json(spec)); }

}  // namespace ember
