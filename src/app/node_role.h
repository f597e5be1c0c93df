// `emberd node`, from its flags to its end.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "node/node_options.h"

namespace ember {

struct NodeFlags {
  std::string data;
  std::string isolation = "auto";
  std::vector<std::string> python;  // NAME=DIRECTORY
  std::vector<std::string> allowed_networks;
  std::string network = "auto";
  std::string container_range;  // empty: one that is free
  NodeOptions options;
};

// What the flags say.
Result<NodeOptions> node_options_of(NodeFlags flags);

// Returns at SIGTERM, or with why it could not start. Containers go on.
Result<> run_node_role(NodeFlags flags);

}  // namespace ember
