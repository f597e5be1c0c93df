// covers: src/node/oci_config.cc
//
// What an image of a stranger's says of itself: what is taken from it keeps to the limits of an
// environment, and names a directory that steps and containers can begin in.
#include "node/oci_config.h"

#include "base/assert.h"
#include "targets.h"

namespace ember::fuzz {

void oci_config(std::string_view bytes) {
  const auto config = read_oci_config(bytes, "amd64");
  if (!config.ok()) return;
  EMBER_ASSERT(check_env(config->env).ok());
  const std::string& directory = config->working_directory;
  EMBER_ASSERT(directory.empty() || directory.starts_with('/'));
  EMBER_ASSERT(directory.find('\0') == std::string::npos);
}

}  // namespace ember::fuzz
