// The routes of a network that leads to listed destinations alone. They stand in the container's
// own namespace, where no container may change them; so what is not listed has no way out, whatever
// becomes of the node and of the firewall. Where a process sends straight by its interface all the
// same (SO_BINDTODEVICE), it has to find who bears the address, and nobody answers.
//
// Networks that are closed stay so: their own routes, which lead nowhere, are not taken away.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "node/netlink.h"
#include "node/network_maker.h"
#include "node/unique_fd.h"

namespace ember {

class ListedRoutes {
 public:
  // Of a network as it was made, or of one that has been narrowed before. The calling thread visits
  // the namespace. Refuses a listed network that is closed.
  static Result<ListedRoutes> narrow(const WayOut& way, const std::vector<Ipv4Network>& networks);

  bool is_closed(std::uint32_t address) const;
  // Opens a way to each. `permission_denied`: one is closed; `resource_exhausted`: there are too
  // many; then none of them is open that was not before.
  Result<> open(const std::vector<std::uint32_t>& addresses);

  // Sockets in the namespace, at the address that containers send questions for names to.
  UniqueFd take_datagrams() { return std::move(datagrams_); }
  UniqueFd take_connections() { return std::move(connections_); }

 private:
  ListedRoutes(Netlink netlink, std::uint32_t gateway)
      : netlink_(std::move(netlink)), gateway_(gateway) {}

  Result<> look_at_routes();
  Result<> check(const std::vector<Ipv4Network>& networks) const;
  Result<> replace_default(const std::vector<Ipv4Network>& networks);
  Result<> add(const Ipv4Network& network);
  Result<> open_sockets(const std::string& interface);

  Netlink netlink_;  // of the namespace, whatever thread uses it
  std::uint32_t gateway_;
  std::vector<Ipv4Network> closed_;
  std::set<std::uint32_t> opened_;
  UniqueFd datagrams_, connections_;
};

}  // namespace ember
