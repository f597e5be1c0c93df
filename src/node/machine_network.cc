#include "node/machine_network.h"

#include "node/slirp_networks.h"
#include "node/uv.h"
#include "node/veth_networks.h"

namespace ember {
namespace {

// By which a later life of the node knows the networks that this one made.
std::string network_mark(NodeId node) { return "EMBER_NETWORK_OF=" + node.text(); }

std::string line_of(const std::string& way, const std::vector<Ipv4Network>& allowed) {
  std::string line = "a network of its own for each container, out through " + way +
                     "; this machine and private networks are out of reach";
  for (const Ipv4Network& network : allowed) {
    line += (&network == &allowed.front() ? " but for " : ", ") + network.text();
  }
  return line;
}

struct Makers {
  Makers(boost::asio::io_context& loop, ProcessTable& processes, const NodeDirectory& directory,
         const std::vector<Ipv4Network>& allowed)
      : veths(make_veth_networks(loop, {.node = directory.node,
                                        .directory = directory.path + "/networks",
                                        .nft = find_program("nft").value_or(""),
                                        .allowed = allowed})),
        slirps(make_slirp_networks(loop, processes,
                                   {.program = find_program("slirp4netns").value_or(""),
                                    .mark = network_mark(directory.node),
                                    .allowed = allowed})) {}
  std::unique_ptr<VethNetworks> veths;
  std::unique_ptr<NetworkMaker> slirps;
};

}  // namespace

std::vector<NetworkMechanism> network_mechanisms(const NodeOptions& options) {
  using enum NetworkMechanism;
  if (options.isolation == IsolationChoice::process) return {of_the_machine};
  if (options.network == NetworkChoice::veth) return {veth};
  if (options.network == NetworkChoice::slirp4netns) return {slirp4netns};
  return {veth, slirp4netns, of_the_machine};
}

std::string_view name_of(NetworkMechanism mechanism) {
  if (mechanism == NetworkMechanism::veth) return "a veth pair";
  return mechanism == NetworkMechanism::slirp4netns ? "slirp4netns" : "the machine's own";
}

void end_stray_networks(const NodeDirectory& directory, const std::set<std::string>& used) {
  boost::asio::io_context loop(1);
  ProcessTable processes(loop);
  const Makers makers(loop, processes, directory, {});
  makers.veths->end_all_but(used);
  makers.slirps->end_all_but(used);
}

Result<ContainerNetworks> make_container_networks(boost::asio::io_context& loop,
                                                  ProcessTable& processes,
                                                  const NodeDirectory& directory,
                                                  const NodeOptions& options,
                                                  NetworkMechanism mechanism, Trial trial) {
  Makers makers(loop, processes, directory, options.allowed_networks);
  ContainerNetworks made;
  NetworkPool::Options pool;
  pool.lists = std::make_unique<EgressLists>(loop, machine_name_servers);
  if (trial == Trial::yes) pool.spare = 0;
  if (mechanism == NetworkMechanism::veth) {
    Result<> ready = makers.veths->begin(options.container_range);
    if (ready.ok() && trial == Trial::yes) ready = makers.veths->try_out();
    if (!ready.ok()) return std::move(ready).error();
    pool.chosen = makers.veths.get();
    made.line = line_of("a veth pair with an address of " + makers.veths->range().text(),
                        options.allowed_networks);
  } else if (mechanism == NetworkMechanism::slirp4netns) {
    if (!find_program("slirp4netns")) {
      return {ErrorCode::unavailable, "slirp4netns is not installed"};
    }
    pool.chosen = makers.slirps.get();
    made.line = line_of("slirp4netns", options.allowed_networks);
  } else {
    made.line = "the machine's own network, with its services within reach";
  }
  pool.makers.push_back(std::move(makers.veths));
  pool.makers.push_back(std::move(makers.slirps));
  made.pool = std::make_unique<NetworkPool>(std::move(pool));
  return made;
}

}  // namespace ember
