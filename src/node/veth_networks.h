// Networks that reach out by a veth pair of their own: two interfaces, the one in the
// container's namespace, the other here, whence the kernel forwards what the firewall lets through
// (firewall.h). As fast as the machine's own network, and no process stands between; a mount in the
// node's directory holds the namespace, so that what has left it can be read after all its
// processes have died, by a later life of the node too.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/ids.h"
#include "node/closed_networks.h"
#include "node/container_range.h"
#include "node/network_maker.h"

namespace ember {

struct VethSetup {
  NodeId node;
  std::string directory;             // where the namespaces are held
  std::string nft;                   // the program; empty: it is not installed
  std::vector<Ipv4Network> allowed;  // of those that are closed
};

class VethNetworks : public NetworkMaker {
 public:
  // Gets the machine ready for new ones: addresses, forwarding, the firewall. The refusal says what
  // this machine lacks.
  virtual Result<> begin(const std::optional<Ipv4Network>& wanted_range) = 0;
  // Once it has begun: whether anything comes through.
  virtual Result<> try_out() = 0;
  // Of the containers' addresses, once it has begun.
  virtual Ipv4Network range() const = 0;
};

// How the names of the node's interfaces begin.
std::string veth_prefix_of(NodeId node);
// Of the firewall, while there is a network of the node.
std::string firewall_table_of(NodeId node);

std::unique_ptr<VethNetworks> make_veth_networks(boost::asio::io_context& loop, VethSetup setup);

}  // namespace ember
