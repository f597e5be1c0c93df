// One container's veth pair: making it and taking it away again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/closed_networks.h"
#include "node/netlink.h"
#include "node/unique_fd.h"

namespace ember {

// Of the end in the container.
inline constexpr const char* kVethInContainer = "eth0";

struct VethPair {
  std::string name;            // of the end here
  std::string namespace_path;  // where the namespace is to be held
  std::uint32_t machine_address = 0, container_address = 0;
  std::uint32_t mtu_bytes = 1500;
};

// Makes the namespace with its closed networks and its end of the pair. The calling thread is in
// the new namespace for a while, so no other may be its reader. `conflict`: the name is taken.
Result<> make_veth_pair(const VethPair& pair, const std::vector<Ipv4Network>& closed);

// The pair, and the mount that holds the namespace.
void remove_veth_pair(Netlink& netlink, const std::string& name, const std::string& namespace_path);

// Whether this machine passes on what comes from a container, and brings the answer back: asked of
// a namespace that stands for the outside for a moment. `outside` is an interface's name for it.
Result<> try_veth_pair(const VethPair& pair, const std::string& outside);

}  // namespace ember
