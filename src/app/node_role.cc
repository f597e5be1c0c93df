#include "app/node_role.h"

#include <unistd.h>

#include <map>
#include <optional>

#include "app/data_directory.h"
#include "app/privileges.h"
#include "app/serve_limits.h"
#include "node/agent.h"
#include "node/container_range.h"

namespace ember {
namespace {

Result<std::vector<Ipv4Network>> parse_networks(const std::vector<std::string>& flags) {
  std::vector<Ipv4Network> networks;
  for (const std::string& flag : flags) {
    auto network = parse_network(flag);
    if (!network) return std::move(network).error().within("--allow-network");
    if (auto allowed = check_allowed(*network); !allowed) {
      return std::move(allowed).error().within("--allow-network");
    }
    networks.push_back(*network);
  }
  return networks;
}

Result<std::optional<Ipv4Network>> parse_range(const std::string& flag) {
  if (flag.empty()) return std::optional<Ipv4Network>();
  auto network = parse_network(flag);
  if (!network) return std::move(network).error().within("--container-range");
  if (auto fits = check_container_range(*network); !fits) {
    return std::move(fits).error().within("--container-range");
  }
  return std::optional(*network);
}

NetworkChoice network_named(const std::string& name) {
  if (name == "veth") return NetworkChoice::veth;
  return name == "slirp4netns" ? NetworkChoice::slirp4netns : NetworkChoice::automatic;
}

Result<std::vector<PythonDirectory>> parse_python(const std::vector<std::string>& flags) {
  std::vector<PythonDirectory> directories;
  for (const std::string& flag : flags) {
    const auto equals = flag.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == flag.size()) {
      return Error{ErrorCode::invalid_argument, "--python takes NAME=DIRECTORY, not " + flag};
    }
    directories.push_back({flag.substr(equals + 1), flag.substr(0, equals)});
  }
  return directories;
}

IsolationChoice isolation_named(const std::string& name) {
  if (name == "container") return IsolationChoice::container;
  return name == "process" ? IsolationChoice::process : IsolationChoice::automatic;
}

}  // namespace

Result<NodeOptions> node_options_of(NodeFlags flags) {
  auto python = parse_python(flags.python);
  if (!python) return std::move(python).error();
  auto networks = parse_networks(flags.allowed_networks);
  if (!networks) return std::move(networks).error();
  auto range = parse_range(flags.container_range);
  if (!range) return std::move(range).error();
  NodeOptions options = std::move(flags.options);
  options.python = std::move(*python);
  options.allowed_networks = std::move(*networks);
  options.container_range = *range;
  options.network = network_named(flags.network);
  options.isolation = isolation_named(flags.isolation);
  options.data = std::move(flags.data);
  return options;
}

Result<> run_node_role(NodeFlags flags) {
  auto options = node_options_of(std::move(flags));
  if (!options) return std::move(options).error();
  options->driver_uid = geteuid() == 0 ? kServeUid : geteuid();
  if (auto made = prepare_data_directory(options->data, Role::node); !made) return made;
  const auto pid_file = take_pid_file(options->data, Role::node);
  if (!pid_file) return pid_file.error();
  raise_descriptor_limit();  // each container takes some, and what it asks for takes more
  if (run_node(*options) == 0) return Ok{};
  return {ErrorCode::unavailable, "the node could not go on; the lines above say why"};
}

}  // namespace ember
