#include "control/container_spec.h"

#include "node/frame.h"

namespace ember {
namespace {

std::string function_json(ContainerId container, const Function& function) {
  const FunctionSpec& spec = function.spec;
  return dump_json({{"protocol", kRunnerProtocolVersion},
                    {"container_id", container.text()},
                    {"app", function.app_name},
                    {"function", spec.name},
                    {"version", function.version},
                    {"module", spec.module},
                    {"qualname", spec.qualname},
                    {"is_async", spec.is_async},
                    {"max_inputs", spec.settings.scaling.max_inputs},
                    {"secrets", spec.secrets.size()},
                    {"python_path", JsonValue::array()},
                    {"source", "/source"}});
}

std::string labels_json(const Function& function) {
  return dump_json({{"app", function.app_name},
                    {"function", function.spec.name},
                    {"pool", function.pool.text()},
                    {"version", function.version}});
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
