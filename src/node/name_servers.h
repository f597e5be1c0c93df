// Who tells this machine what names lead to.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/ipv4_network.h"

namespace ember {

// The IPv4 name servers of a resolv.conf, in its order.
std::vector<Ipv4Network> name_servers(const std::string& path = "/etc/resolv.conf");

// The first name server of /etc/resolv.conf that is not this machine's loopback; behind systemd's
// stub, the first that this asks itself.
Result<Ipv4Network> find_resolver();

}  // namespace ember
