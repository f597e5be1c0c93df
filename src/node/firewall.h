// The firewall of containers with a veth pair of their own: a table of nftables, the node's and
// nobody else's, on the machine's side. It lets containers out under the machine's address, and
// drops what they send to closed networks, to this machine and to each other, what bears another's
// address, and what others send to them; all of that a second time, for the routes in their
// namespaces close the same (closed_networks.h). It bounds the connections of each, for the
// machine's table of them is shared.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/closed_networks.h"
#include "node/unique_fd.h"

namespace ember {

struct Firewall {
  std::string table;                    // its name
  std::string interfaces;               // how the names of the containers' interfaces begin
  std::vector<Ipv4Network> containers;  // where their addresses are
  std::vector<Ipv4Network> allowed;     // of the networks that are closed
  Ipv4Network name_server;              // whom containers ask
  Ipv4Network resolver;                 // who answers
};

// The table in nft's language, to be put in the place of one of the same name at once.
std::string firewall_text(const Firewall& firewall);
// How many rules the text has, whatever the firewall.
std::size_t firewall_rule_count();

// `nft` is the program's path. The text passes through a file in the directory.
Result<> put_up_firewall(const std::string& nft, const std::string& directory,
                         const Firewall& firewall);
void take_down_firewall(const std::string& nft, const std::string& table);
// How many rules of it stand; 0 where there is none. Nothing: the kernel does not say.
std::optional<std::size_t> firewall_rules(const std::string& table);

// A socket that can be read when rules of the machine have changed, whoever did it; what it tells
// is read away by drain(). Nothing where the kernel does not tell.
UniqueFd open_firewall_events();
void drain_firewall_events(int socket);

}  // namespace ember
