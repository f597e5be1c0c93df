#include "node/oci_config.h"

#include "node/json_bounds.h"
#include "node/json_fields.h"

namespace ember {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxPathBytes = 1024;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

bool is_plain_path(const std::string& path) {
  return path.starts_with('/') && path.size() <= kMaxPathBytes &&
         path.find('\0') == std::string::npos && (path + "/").find("/../") == std::string::npos;
}

}  // namespace

Result<OciConfig> read_oci_config(std::string_view text, std::string_view architecture) {
  if (JsonBounds<Json>::check(text) != JsonShape::fine) {
    return invalid("its configuration is not JSON of a sensible shape");
  }
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  JsonFields fields(json);
  const std::string made_for = fields.text_or("architecture", std::string(architecture));
  if (made_for != architecture) {
    return invalid("it is for " + made_for.substr(0, 32) + ", and this machine is " +
                   std::string(architecture) + ": name an image that is built for it");
  }
  OciConfig config;
  if (!json.is_object() || !json.contains("config") || json["config"].is_null()) return config;
  fields.object("config", [&](JsonFields& inner) {
    for (const std::string& entry : inner.texts_or_none("Env")) {
      const auto split = entry.find('=');
      const std::string name = entry.substr(0, split);
      // What a shell could not set either is left out, as are names of Ember's own.
      if (split == std::string::npos || !is_env_name(name) || name.starts_with("EMBER_")) continue;
      config.env.emplace_back(name, entry.substr(split + 1));
    }
    config.working_directory = inner.text_or("WorkingDir", "");
  });
  if (auto fine = fields.check(); !fine.ok()) return std::move(fine).error();
  if (auto fine = check_env(config.env); !fine.ok()) return std::move(fine).error();
  if (!config.working_directory.empty() && !is_plain_path(config.working_directory)) {
    return invalid("its working directory is no absolute path");
  }
  return config;
}

std::string_view machine_architecture() {
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#endif
}

}  // namespace ember
