// Where containers may not send to: this machine's own addresses, and what is not the public
// internet: private and link-local networks (with them the clouds' metadata services), multicast,
// reserved ranges. Each becomes a route that leads nowhere, which takes a privilege to remove that
// no container has.
#pragma once

#include <vector>

#include "base/result.h"
#include "model/ipv4_network.h"

namespace ember {

// Whether it can be opened to containers: not loopback, which is the container's own there, and not
// what lies inside its network.
Result<> check_allowed(const Ipv4Network& network);

// Of all interfaces that are up now, each as a network of one.
std::vector<Ipv4Network> own_addresses();

// The closed ranges without what is allowed, and the machine's own addresses, each of which only
// its own name opens. What lies inside a container's network stays open.
std::vector<Ipv4Network> closed_networks(const std::vector<Ipv4Network>& own,
                                         const std::vector<Ipv4Network>& allowed);

// Closes them in the network namespace of the calling thread, whatever interfaces and routes of
// lesser prefix it gets. False: errno says why.
bool close_networks(const std::vector<Ipv4Network>& networks);

}  // namespace ember
