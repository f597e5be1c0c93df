// Where a function's containers can send to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/ipv4_network.h"

namespace ember {

enum class NetworkAccess {
  internet,  // the public internet, less what the node closes
  none,      // nowhere: the container has its own loopback alone
  listed,    // to the destinations alone; these open nothing that the node closes
};

struct NetworkPolicy {
  NetworkAccess access = NetworkAccess::internet;
  // listed: networks ("203.0.113.0/24"), names ("example.org"), names below one ("*.example.org").
  std::vector<std::string> destinations = {};

  bool operator==(const NetworkPolicy&) const = default;
};

// The list that a policy's destinations make.
struct Destinations {
  std::vector<Ipv4Network> networks;
  std::vector<std::string> names;    // lower case
  std::vector<std::string> parents;  // of "*.example.org": "example.org"

  // Whether the name, in whatever case, is listed or below a listed parent.
  bool has(std::string_view name) const;
};

std::string_view network_access_name(NetworkAccess access);
// "internet" or "none"; the refusal says which there are.
Result<NetworkPolicy> parse_network_policy(std::string_view text);
// A list; the refusal names the destination that is none.
Result<NetworkPolicy> listed_destinations(std::vector<std::string> destinations);
// Of a policy that has been checked.
Destinations destinations_of(const NetworkPolicy& policy);

}  // namespace ember
