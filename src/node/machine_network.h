// By which mechanism containers reach out on this machine.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "node/network_pool.h"
#include "node/node_directory.h"
#include "node/node_options.h"
#include "node/process_table.h"

namespace ember {

// The last is none: containers are on the machine's own network.
enum class NetworkMechanism { veth, slirp4netns, of_the_machine };

// Those that the options allow, the best first.
std::vector<NetworkMechanism> network_mechanisms(const NodeOptions& options);

// A pool that makes networks by the mechanism, and can tell of and end all that any mechanism made.
// `on_trial` goes through the whole of it before the first container does.
enum class Trial { no, yes };
struct ContainerNetworks {
  std::unique_ptr<NetworkPool> pool;
  std::string line;  // how containers reach out, for people
};
Result<ContainerNetworks> make_container_networks(boost::asio::io_context& loop,
                                                  ProcessTable& processes,
                                                  const NodeDirectory& directory,
                                                  const NodeOptions& options,
                                                  NetworkMechanism mechanism, Trial trial);

// As people know it.
std::string_view name_of(NetworkMechanism mechanism);

// Ends those that an earlier life of the node made and that are not among these.
void end_stray_networks(const NodeDirectory& directory, const std::set<std::string>& used);

}  // namespace ember
