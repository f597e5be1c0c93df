#include "control/container_spec.h"

#include "node/frame.h"

namespace ember {
namespace {

std::string function_json(ContainerId container, const Function& function) {
  const FunctionSpec& spec = function.spec;
  JsonValue document = {{"protocol", kRunnerProtocolVersion},
                        {"container_id", container.text()},
                        {"app", function.app_name},
                        {"function", spec.name},
                        {"version", function.version},
                        {"module", spec.module},
                        {"qualname", spec.qualname},
                        {"is_async", spec.is_async},
                        {"max_inputs", spec.settings.scaling.max_inputs},
                        {"is_batched", spec.settings.batching.is_on()},
                        {"secrets", spec.secrets.size()},
                        {"python_path", JsonValue::array()},
                        {"source", "/source"}};
  if (!spec.of_class.is_class()) return dump_json(document);
  JsonValue methods = JsonValue::array();
  for (const MethodSpec& method : spec.of_class.methods) methods.push_back(method.name);
  document["methods"] = std::move(methods);
  document["options"] = JsonValue::parse(function.options, nullptr, false);
  document["class_arguments"] = JsonValue::parse(function.class_arguments, nullptr, false);
  return dump_json(document);
}

std::string labels_json(const Function& function) {
  JsonValue labels = {{"app", function.app_name},
                      {"function", function.spec.name},
                      {"pool", function.pool.text()},
                      {"version", function.version}};
  if (function.variant) {
    labels["variant"] = function.variant.text();
    labels["class_arguments"] = function.class_arguments;
    labels["options"] = function.options;
  }
  return dump_json(labels);
}

}  // namespace

ContainerSpec container_spec(ContainerId container, const Function& function,
                             std::vector<DeviceId> devices) {
  const FunctionSpec& spec = function.spec;
  return {container,
          spec.image,
          spec.settings.resources,
          std::move(devices),
          spec.env,
          spec.sandbox,
          {},  // volumes: once their versions are known
          function_json(container, function),
          labels_json(function)};
}

}  // namespace ember
