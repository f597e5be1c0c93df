// A function as it is deployed: what the engine must know (settings) and what a container must be
// told (image, entry, environment). Its JSON form is that of docs/reference/http.md, in a deploy
// request and, complete with defaults, in the store.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/class_spec.h"
#include "control/json.h"
#include "control/secret_values.h"
#include "engine/event.h"
#include "model/environment.h"
#include "model/function.h"
#include "model/image.h"
#include "model/rollout.h"
#include "model/sandbox.h"
#include "model/schedule.h"
#include "model/volume.h"

namespace ember {

// Where a container sees what its function's calls leave for their next attempt.
inline constexpr std::string_view kCheckpointsPath = "/checkpoints";

struct FunctionSpec {
  std::string name;
  std::string module;         // dotted name of the user's module
  std::string qualname;       // of the function or class in it
  bool is_async = false;      // of a class: any of its methods
  bool is_generator = false;  // never of a class, whose methods are some or not
  ImageSpec image;
  FunctionSettings settings;
  Environment env;
  std::vector<SecretUse> secrets;
  SandboxSettings sandbox;
  std::vector<VolumeMount> volumes;
  std::optional<Schedule> schedule;
  std::optional<WebSpec> web = {};  // never of a class, whose methods have their own
  bool checkpoints = false;         // its calls may leave some for their next attempt
  std::string parameters = "[]";    // JSON of the SDK's, which describes the signature; opaque here
  ClassSpec of_class;               // where it is a class
  Spread spread = Spread::packed;
};

// Of a function, or of this method of a class; none: it is no web endpoint.
const std::optional<WebSpec>& web_of(const FunctionSpec& spec, std::uint8_t method);
// Whether it, or this method of a class, is a generator.
bool gives_items(const FunctionSpec& spec, std::uint8_t method);

struct DeployRequest {
  bool ephemeral = false;
  std::string source;  // digest of the source's manifest
  Rollout rollout = Rollout::rolling;
  std::vector<FunctionSpec> functions;
};

// Messages name the field: "functions[2].timeout_ms must be a whole number".
Result<DeployRequest> parse_deploy_request(std::string_view text);
Result<FunctionSpec> parse_function_spec(const JsonValue& value, const std::string& path);
Result<ImageSpec> parse_image_spec(const JsonValue& value, const std::string& path);

// Of the fields that say how many containers there are, those that are given.
void read_scaling(Fields& fields, Scaling& scaling);

JsonValue to_json(const FunctionSpec& spec);
JsonValue to_json(const ImageSpec& spec);
JsonValue to_json(const NetworkPolicy& network);
JsonValue to_json(const FunctionSettings& settings);  // the settings' fields alone
JsonValue to_json(const GpuDemand& demand);           // the types named: ["L4", "H100:2"]

}  // namespace ember
