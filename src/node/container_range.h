// The addresses of containers: a range of the machine's own choosing, in pairs, one for the
// machine's end of a veth pair and one for the container's. No other node of this machine
// has the same, and no route of the machine leads there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "node/closed_networks.h"
#include "node/netlink.h"
#include "node/unique_fd.h"

namespace ember {

struct ContainerRange {
  Ipv4Network network;
  UniqueFd claim;  // while it is open no other node takes the range

  std::uint32_t pairs() const;
  std::uint32_t machine_address(std::uint32_t pair) const { return network.address + 2 * pair; }
  std::uint32_t container_address(std::uint32_t pair) const { return machine_address(pair) + 1; }
};

// Private, and with room for containers.
Result<> check_container_range(const Ipv4Network& network);

// The wanted one, or one of a few. Routes by interfaces of this prefix are the node's own, of an
// earlier life: the range they are in is taken again. The refusal says what stands in the way.
Result<ContainerRange> claim_container_range(const std::optional<Ipv4Network>& wanted,
                                             const std::vector<Netlink::Route>& routes,
                                             const std::string& own_prefix);

}  // namespace ember
