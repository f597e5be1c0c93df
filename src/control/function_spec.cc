#include "control/function_spec.h"

#include <algorithm>
#include <set>

#include "control/schedule_spec.h"

namespace ember {
namespace {

constexpr std::size_t kMostMounts = 16;
constexpr std::size_t kMaxRequestBytes = 8u << 20;
constexpr std::size_t kMaxFunctions = 200;
constexpr std::size_t kMaxGpuChoices = 16;
constexpr std::size_t kMaxParametersBytes = 64u << 10;
constexpr std::size_t kMaxEntryLength = 255;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
}

// What Python can import or look up by a dotted path; Python itself has the last word.
bool is_dotted_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxEntryLength && is_printable(text) &&
         text.find_first_of(" /\\\"'") == std::string_view::npos;
}

// With types `vram_bytes` is a share of one device, without any it is what a device must have.
Result<GpuDemand> parse_gpu(const JsonValue* list, std::int64_t vram_bytes,
                            const std::string& path) {
  GpuDemand demand;
  if (!list || list->empty()) {
    demand.least_vram_bytes = vram_bytes;
  } else {
    demand.share_bytes = vram_bytes;
  }
  if (list && list->size() > kMaxGpuChoices) return invalid(path + "gpu has too many choices");
  for (std::size_t i = 0; list && i < list->size(); ++i) {
    const JsonValue& item = (*list)[i];
    if (!item.is_string()) return invalid(path + "gpu must be a list of texts such as \"L4\"");
    auto choice = parse_gpu_choice(item.get_ref<const std::string&>());
    if (!choice) return std::move(choice).error().within(path + "gpu");
    demand.choices.push_back(std::move(choice).value());
  }
  if (auto fits = check_vram(demand); !fits) return std::move(fits).error().within(path + "vram");
  return demand;
}

Result<Environment> parse_env(const JsonValue* object, const std::string& path) {
  Environment env;
  if (!object) return env;
  for (const auto& [name, value] : object->items()) {
    if (!value.is_string()) return invalid(path + "." + name.substr(0, 64) + " must be a text");
    env.emplace_back(name, value.get<std::string>());
  }
  if (auto fine = check_env(env, path); !fine) return std::move(fine).error();
  return env;
}

Duration milliseconds_or(Fields& fields, std::string_view name, Duration fallback) {
  const std::int64_t ms = fields.integer_or(name, fallback.whole_ms());
  // Out of range either way; the check of the settings says so without an overflow here.
  return Duration::milliseconds(std::clamp<std::int64_t>(ms, -1, 1ll << 40));
}

std::uint32_t count_or(Fields& fields, std::string_view name, std::uint32_t fallback) {
  const std::int64_t count = fields.integer_or(name, fallback);
  if (count < 0 || count > INT32_MAX) fields.fail(name, "is out of range");
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(count, 0, INT32_MAX));
}

// A number of retries, or an object that says also when they come.
Retries read_retries(Fields& fields) {
  Retries retries;
  const JsonValue* given = fields.any("retries");
  if (!given || given->is_null()) return retries;
  if (!given->is_object()) {
    fields.fail("retries", "must be an object");
    return retries;
  }
  Fields inner(*given, "retries.");
  retries.max_retries = count_or(inner, "max_retries", retries.max_retries);
  retries.initial_delay = milliseconds_or(inner, "initial_delay_ms", retries.initial_delay);
  retries.backoff_permille = count_or(inner, "backoff_permille", retries.backoff_permille);
  retries.max_delay = milliseconds_or(inner, "max_delay_ms", retries.max_delay);
  if (auto read = inner.finish(); !read) fields.fail("retries", read.error().message);
  return retries;
}

FunctionSettings read_settings(Fields& fields) {
  FunctionSettings settings;
  Resources& resources = settings.resources;
  resources.cpu_millicores = fields.integer_or("cpu_millicores", resources.cpu_millicores);
  resources.memory_bytes = fields.integer_or("memory_bytes", resources.memory_bytes);
  resources.gpu.share_bytes = fields.integer_or("vram_bytes", 0);
  settings.timeout = milliseconds_or(fields, "timeout_ms", settings.timeout);
  settings.retries = read_retries(fields);
  settings.startup_timeout =
      milliseconds_or(fields, "startup_timeout_ms", settings.startup_timeout);
  Scaling& scaling = settings.scaling;
  read_scaling(fields, scaling);
  scaling.max_inputs = count_or(fields, "max_inputs", scaling.max_inputs);
  scaling.target_inputs = count_or(fields, "target_inputs", scaling.max_inputs);
  scaling.queue_limit = count_or(fields, "queue_limit", scaling.queue_limit);
  Batching& batching = settings.batching;
  batching.max_batch_size = count_or(fields, "max_batch_size", batching.max_batch_size);
  batching.wait = milliseconds_or(fields, "batch_wait_ms", batching.wait);
  return settings;
}

// A text, or a list of destinations.
Result<NetworkPolicy> parse_network(const JsonValue& value) {
  if (value.is_string()) return parse_network_policy(value.get_ref<const std::string&>());
  if (!value.is_array() || !std::ranges::all_of(value, &JsonValue::is_string)) {
    return invalid("must be \"internet\", \"none\" or a list of destinations");
  }
  auto destinations = value.get<std::vector<std::string>>();
  return listed_destinations(std::move(destinations));
}

Result<> read_sandbox(const JsonValue* network, const std::string& isolation,
                      const std::string& path, SandboxSettings& sandbox) {
  if (network) {
    auto policy = parse_network(*network);
    if (!policy) return std::move(policy).error().within(path + "network");
    sandbox.network = std::move(*policy);
  }
  auto wanted = parse_isolation_class(isolation);
  if (!wanted) return std::move(wanted).error().within(path + "isolation");
  sandbox.isolation = *wanted;
  if (auto fits = check_ephemeral_disk(sandbox.ephemeral_disk_bytes); !fits) {
    return std::move(fits).error().within(path + "ephemeral_disk_bytes");
  }
  return Ok{};
}

Result<VolumeMount> parse_volume_mount(const JsonValue& value, const std::string& path) {
  Fields fields(value, path + ".");
  VolumeMount mount;
  mount.path = fields.text("path");
  mount.volume = fields.text("name");
  mount.version = count_or(fields, "version", 0);
  mount.access =
      fields.flag_or("read_only", false) ? VolumeAccess::read_only : VolumeAccess::read_write;
  mount.sub_path = fields.text_or("sub_path", "");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  return mount;
}

// They take a mount of their own.
Result<> check_checkpoints(const FunctionSpec& spec, const std::string& path) {
  if (!spec.checkpoints) return Ok{};
  const std::string within = std::string(kCheckpointsPath) + "/";
  for (const VolumeMount& mount : spec.volumes) {
    if ((mount.path + "/").starts_with(within)) {
      return invalid(path + "volumes: " + mount.path +
                     " is where its checkpoints lie; mount the volume elsewhere");
    }
  }
  if (spec.volumes.size() < kMostMounts) return Ok{};
  return invalid(path + "volumes has 16, and its checkpoints take one more");
}

Result<std::vector<VolumeMount>> parse_volumes(const JsonValue* list, const std::string& path) {
  std::vector<VolumeMount> mounts;
  for (std::size_t i = 0; list && i < list->size(); ++i) {
    auto mount = parse_volume_mount((*list)[i], path + "[" + std::to_string(i) + "]");
    if (!mount) return std::move(mount).error();
    mounts.push_back(std::move(mount).value());
  }
  if (auto fine = check_volume_mounts(mounts, path); !fine) return std::move(fine).error();
  return mounts;
}

JsonValue to_json(const std::vector<VolumeMount>& mounts) {
  JsonValue list = JsonValue::array();
  for (const VolumeMount& mount : mounts) {
    list.push_back({{"path", mount.path},
                    {"name", mount.volume},
                    {"version", mount.version},
                    {"read_only", mount.access == VolumeAccess::read_only},
                    {"sub_path", mount.sub_path}});
  }
  return list;
}

Result<> check_entry(const FunctionSpec& spec, const std::string& path) {
  if (auto named = check_name("function", spec.name); !named) {
    return std::move(named).error().within(path + "name");
  }
  if (!is_dotted_name(spec.module)) return invalid(path + "module is not a module's dotted name");
  if (!is_dotted_name(spec.qualname)) return invalid(path + "qualname is not a Python name");
  if (auto fits = check(spec.settings); !fits) {
    return std::move(fits).error().within(path.empty() ? spec.name
                                                       : path.substr(0, path.size() - 1));
  }
  return Ok{};
}

// Inputs of all methods would be gathered together, and a retry may be in another batch.
Result<> check_batched(const FunctionSpec& spec, const std::string& path) {
  if (!spec.settings.batching.is_on()) return Ok{};
  if (spec.of_class.methods.size() > 1) {
    return invalid(path + "max_batch_size: a class with a batched method has no other method");
  }
  if (gives_items(spec, 0)) {
    return invalid(path + "max_batch_size: a generator gives its items to one caller");
  }
  const auto is_web = [](const MethodSpec& method) { return method.web.has_value(); };
  if (spec.web || std::ranges::any_of(spec.of_class.methods, is_web)) {
    return invalid(path + "max_batch_size: a web endpoint is not batched");
  }
  if (spec.checkpoints) {
    return invalid(path + "checkpoints: a batch is of many calls, and keeps none");
  }
  return Ok{};
}

// A request brings nothing but itself: no parameters of a class, and a schedule brings no request.
Result<> check_web(const FunctionSpec& spec, const std::string& path) {
  const ClassSpec& of_class = spec.of_class;
  if (spec.web && of_class.is_class()) {
    return invalid(path + "web: of a class its methods are web endpoints");
  }
  if (spec.web && (spec.is_generator || spec.schedule)) {
    return invalid(path + "web: a web endpoint is no generator and has no schedule");
  }
  const auto is_web = [](const MethodSpec& method) { return method.web.has_value(); };
  if (of_class.needs_parameters() && std::ranges::any_of(of_class.methods, is_web)) {
    return invalid(path + "class_parameters: with a web endpoint each needs a default");
  }
  return Ok{};
}

Result<ImageStep> parse_image_step(const JsonValue& value, const std::string& path) {
  Fields fields(value, path + ".");
  ImageStep step{.kind = fields.text("kind"), .arguments = {}, .options = {}, .files = {}};
  const JsonValue* arguments = fields.array("arguments");
  const JsonValue* options = fields.object("options");
  step.files = fields.text_or("files", "");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (!arguments) return invalid(path + ".arguments is missing");
  for (const JsonValue& argument : *arguments) {
    if (!argument.is_string()) return invalid(path + ".arguments must be texts");
    step.arguments.push_back(argument.get<std::string>());
  }
  if (!options) return step;
  for (const auto& [name, option] : options->items()) {
    if (!option.is_string()) return invalid(path + ".options must be texts");
    step.options.emplace(name, option.get<std::string>());
  }
  return step;
}

// "host", or a step like the others.
Result<ImageStep> parse_image_base(const JsonValue& value, const std::string& path) {
  if (!value.is_string()) return parse_image_step(value, path);
  ImageStep base;
  base.kind = value.get<std::string>();
  return base;
}

JsonValue to_json(const ImageStep& step) {
  JsonValue json{{"kind", step.kind}, {"arguments", step.arguments}};
  if (!step.options.empty()) json["options"] = step.options;
  if (!step.files.empty()) json["files"] = step.files;
  return json;
}

}  // namespace

void read_scaling(Fields& fields, Scaling& scaling) {
  scaling.min_containers = count_or(fields, "min_containers", scaling.min_containers);
  scaling.max_containers = count_or(fields, "max_containers", scaling.max_containers);
  scaling.buffer_containers = count_or(fields, "buffer_containers", scaling.buffer_containers);
  scaling.scaledown_window =
      milliseconds_or(fields, "scaledown_window_ms", scaling.scaledown_window);
}

Result<ImageSpec> parse_image_spec(const JsonValue& value, const std::string& path) {
  Fields fields(value, path.empty() ? "" : path + ".");
  ImageSpec image;
  const JsonValue* base = fields.any("base");
  const JsonValue* steps = fields.array("steps");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  const std::string name = path.empty() ? "image" : path;
  if (base) {
    auto parsed = parse_image_base(*base, name + ".base");
    if (!parsed) return std::move(parsed).error();
    image.base = std::move(parsed).value();
  }
  for (std::size_t i = 0; steps && i < steps->size(); ++i) {
    auto step = parse_image_step((*steps)[i], name + ".steps[" + std::to_string(i) + "]");
    if (!step) return std::move(step).error();
    image.steps.push_back(std::move(step).value());
  }
  if (auto fine = check_image(image, name); !fine) return std::move(fine).error();
  return image;
}

Result<FunctionSpec> parse_function_spec(const JsonValue& value, const std::string& path) {
  Fields fields(value, path);
  FunctionSpec spec;
  spec.name = fields.text("name");
  spec.module = fields.text("module");
  spec.qualname = fields.text("qualname");
  spec.is_async = fields.flag_or("is_async", false);
  spec.is_generator = fields.flag_or("is_generator", false);
  spec.settings = read_settings(fields);
  const JsonValue* image = fields.object("image");
  const JsonValue* gpu = fields.array("gpu");
  const JsonValue* env = fields.object("env");
  const JsonValue* secrets = fields.array("secrets");
  const JsonValue* parameters = fields.array("parameters");
  const JsonValue* volumes = fields.array("volumes");
  const JsonValue* methods = fields.array("methods");
  const JsonValue* class_parameters = fields.array("class_parameters");
  spec.spread = fields.flag_or("spread", false) ? Spread::apart : Spread::packed;
  spec.checkpoints = fields.flag_or("checkpoints", false);
  const JsonValue* network = fields.any("network");
  const JsonValue* schedule = fields.any("schedule");
  const JsonValue* web = fields.any("web");
  const std::string isolation = fields.text_or("isolation", "");
  spec.sandbox.ephemeral_disk_bytes = fields.integer_or("ephemeral_disk_bytes", 0);
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (image) {
    auto parsed = parse_image_spec(*image, path + "image");
    if (!parsed) return std::move(parsed).error();
    spec.image = std::move(parsed).value();
  }
  auto demand = parse_gpu(gpu, spec.settings.resources.gpu.share_bytes, path);
  if (!demand) return std::move(demand).error();
  spec.settings.resources.gpu = std::move(demand).value();
  auto variables = parse_env(env, path + "env");
  if (!variables) return std::move(variables).error();
  spec.env = std::move(variables).value();
  if (secrets) {
    auto uses = parse_secret_uses(*secrets, path + "secrets");
    if (!uses) return std::move(uses).error();
    spec.secrets = std::move(*uses);
  }
  if (auto read = read_sandbox(network, isolation, path, spec.sandbox); !read) return read.error();
  auto mounts = parse_volumes(volumes, path + "volumes");
  if (!mounts) return std::move(mounts).error();
  spec.volumes = std::move(mounts).value();
  if (auto room = check_checkpoints(spec, path); !room) return std::move(room).error();
  if (schedule && !schedule->is_null()) {
    auto parsed = parse_schedule(*schedule, path + "schedule");
    if (!parsed) return std::move(parsed).error();
    spec.schedule = std::move(*parsed);
  }
  if (parameters) spec.parameters = dump_json(*parameters);
  if (spec.parameters.size() > kMaxParametersBytes) {
    return invalid(path + "parameters has more than 64 KiB");
  }
  auto of_class = parse_class_spec(methods, class_parameters, path);
  if (!of_class) return std::move(of_class).error();
  spec.of_class = std::move(of_class).value();
  auto endpoint = parse_web_spec(web, path + "web");
  if (!endpoint) return std::move(endpoint).error();
  spec.web = std::move(endpoint).value();
  if (auto fits = check_web(spec, path); !fits) return std::move(fits).error();
  if (spec.is_generator && !spec.of_class.methods.empty()) {
    return {ErrorCode::invalid_argument,
            path + "is_generator: of a class its methods are generators, or not"};
  }
  if (auto fits = check_batched(spec, path); !fits) return std::move(fits).error();
  if (auto fits = check_entry(spec, path); !fits) return std::move(fits).error();
  return spec;
}

bool gives_items(const FunctionSpec& spec, std::uint8_t method) {
  const auto& methods = spec.of_class.methods;
  return method < methods.size() ? methods[method].is_generator : spec.is_generator;
}

const std::optional<WebSpec>& web_of(const FunctionSpec& spec, std::uint8_t method) {
  const auto& methods = spec.of_class.methods;
  return method < methods.size() ? methods[method].web : spec.web;
}

Result<DeployRequest> parse_deploy_request(std::string_view text) {
  auto document = parse_json(text, "the deploy request", kMaxRequestBytes);
  if (!document) return std::move(document).error();
  const WipedAtEnd wiped(*document);  // it may hold values of secrets
  Fields fields(*document, "");
  DeployRequest request;
  request.ephemeral = fields.flag_or("ephemeral", false);
  request.source = fields.text("source");
  const std::string strategy = fields.text_or("strategy", "rolling");
  const JsonValue* functions = fields.array("functions");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  const auto rollout = parse_rollout(strategy);
  if (!rollout) return invalid(kUnknownRollout);
  request.rollout = *rollout;
  if (!functions || functions->empty() || functions->size() > kMaxFunctions) {
    return invalid("functions must be a list of 1 to 200 functions");
  }
  std::set<std::string> names;
  for (std::size_t i = 0; i < functions->size(); ++i) {
    auto spec = parse_function_spec((*functions)[i], "functions[" + std::to_string(i) + "].");
    if (!spec) return std::move(spec).error();
    if (!names.insert(spec->name).second) {
      return invalid("two functions are named \"" + spec->name + "\"; give one another name");
    }
    if (std::ranges::any_of(spec->secrets,
                            [](const SecretUse& use) { return use.id.value != 0; })) {
      return invalid(spec->name + ": secrets are given by name or by values, not by id");
    }
    request.functions.push_back(std::move(spec).value());
  }
  return request;
}

JsonValue to_json(const GpuDemand& demand) {
  JsonValue list = JsonValue::array();
  if (demand.least_vram_bytes > 0) return list;  // the types follow from it
  for (const GpuChoice& choice : demand.choices) list.push_back(GpuDemand{{choice}}.text());
  return list;
}

JsonValue to_json(const Retries& retries) {
  return {{"max_retries", retries.max_retries},
          {"initial_delay_ms", retries.initial_delay.whole_ms()},
          {"backoff_permille", retries.backoff_permille},
          {"max_delay_ms", retries.max_delay.whole_ms()}};
}

JsonValue to_json(const FunctionSettings& settings) {
  const Scaling& scaling = settings.scaling;
  return {
      {"cpu_millicores", settings.resources.cpu_millicores},
      {"memory_bytes", settings.resources.memory_bytes},
      {"vram_bytes", settings.resources.gpu.share_bytes + settings.resources.gpu.least_vram_bytes},
      {"timeout_ms", settings.timeout.whole_ms()},
      {"startup_timeout_ms", settings.startup_timeout.whole_ms()},
      {"retries", to_json(settings.retries)},
      {"min_containers", scaling.min_containers},
      {"max_containers", scaling.max_containers},
      {"buffer_containers", scaling.buffer_containers},
      {"scaledown_window_ms", scaling.scaledown_window.whole_ms()},
      {"max_inputs", scaling.max_inputs},
      {"target_inputs", scaling.target_inputs},
      {"queue_limit", scaling.queue_limit},
      {"max_batch_size", settings.batching.max_batch_size},
      {"batch_wait_ms", settings.batching.wait.whole_ms()}};
}

JsonValue to_json(const NetworkPolicy& network) {
  if (network.access == NetworkAccess::listed) return network.destinations;
  return network_access_name(network.access);
}

JsonValue to_json(const ImageSpec& spec) {
  JsonValue steps = JsonValue::array();
  for (const ImageStep& step : spec.steps) steps.push_back(to_json(step));
  if (spec.on_host()) return {{"base", spec.base.kind}, {"steps", std::move(steps)}};
  return {{"base", to_json(spec.base)}, {"steps", std::move(steps)}};
}

JsonValue to_json(const FunctionSpec& spec) {
  JsonValue env = JsonValue::object();
  for (const auto& [name, value] : spec.env) env[name] = value;
  JsonValue secrets = JsonValue::array();
  for (const SecretUse& use : spec.secrets) secrets.push_back(to_json(use));
  JsonValue value = {{"name", spec.name},
                     {"module", spec.module},
                     {"qualname", spec.qualname},
                     {"is_async", spec.is_async},
                     {"is_generator", spec.is_generator},
                     {"image", to_json(spec.image)},
                     {"gpu", to_json(spec.settings.resources.gpu)},
                     {"env", std::move(env)},
                     {"secrets", std::move(secrets)},
                     {"network", to_json(spec.sandbox.network)},
                     {"isolation", isolation_class_name(spec.sandbox.isolation)},
                     {"ephemeral_disk_bytes", spec.sandbox.ephemeral_disk_bytes},
                     {"volumes", to_json(spec.volumes)},
                     {"checkpoints", spec.checkpoints},
                     {"parameters", JsonValue::parse(spec.parameters, nullptr, false)},
                     {"methods", methods_json(spec.of_class)},
                     {"class_parameters", parameters_json(spec.of_class)},
                     {"spread", spec.spread == Spread::apart}};
  value.update(to_json(spec.settings));
  if (spec.schedule) value["schedule"] = to_json(*spec.schedule);
  if (spec.web) value["web"] = to_json(*spec.web);
  return value;
}

}  // namespace ember
