#include "node/listed_routes.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "node/network_namespace.h"

namespace ember {
namespace {

constexpr Ipv4Network kEverywhere{0, 0};
constexpr int kWholeAddress = 32;
constexpr std::size_t kMostOpened = 4096;  // addresses that names led to
constexpr std::uint16_t kNamesPort = 53;
constexpr int kConnectionsWaiting = 16;
constexpr const char* kLoopback = "lo";

Error failed(const std::string& what) {
  return {ErrorCode::unavailable, what + ": " + std::strerror(errno)};
}

Error is_closed_to_containers(const Ipv4Network& network) {
  return {ErrorCode::permission_denied,
          network.text() + " is closed to containers: open it with --allow-network"};
}

Result<UniqueFd> open_socket(int kind) {
  UniqueFd socket(::socket(AF_INET, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(kNamesPort);
  at.sin_addr.s_addr = htonl(parse_network(kNameServer)->address);
  // Connections of an earlier life of the node may still be closing.
  const int again = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &again, sizeof(again));
  const auto* address = reinterpret_cast<const sockaddr*>(&at);
  if (!socket || ::bind(socket.get(), address, sizeof(at)) != 0) return failed("answer for names");
  if (kind == SOCK_STREAM && ::listen(socket.get(), kConnectionsWaiting) != 0) {
    return failed("answer for names");
  }
  return socket;
}

}  // namespace

Result<ListedRoutes> ListedRoutes::narrow(const WayOut& way,
                                          const std::vector<Ipv4Network>& networks) {
  const UniqueFd there(::open(way.namespace_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!there) return failed("open the namespace");
  Result<ListedRoutes> made{ErrorCode::internal, ""};
  auto visited = in_network_namespace(there, [&]() -> Result<> {
    auto netlink = Netlink::open();
    if (!netlink.ok()) return std::move(netlink).error();
    ListedRoutes routes(std::move(*netlink), way.gateway);
    if (auto looked = routes.look_at_routes(); !looked.ok()) return looked;
    if (auto fine = routes.check(networks); !fine.ok()) return fine;
    if (auto narrowed = routes.replace_default(networks); !narrowed.ok()) return narrowed;
    if (auto opened = routes.open_sockets(way.interface); !opened.ok()) return opened;
    made = std::move(routes);
    return Ok{};
  });
  if (!visited.ok()) return std::move(visited).error();
  return made;
}

// Closed is what leads nowhere, or to the container itself.
Result<> ListedRoutes::look_at_routes() {
  auto routes = netlink_.routes();
  if (!routes.ok()) return std::move(routes).error();
  for (const Netlink::Route& route : *routes) {
    if (route.interface.empty() || route.interface == kLoopback) {
      closed_.push_back(route.to);
    } else if (route.to.prefix_bits == kWholeAddress) {
      opened_.insert(route.to.address);
    }
  }
  return Ok{};
}

Result<> ListedRoutes::check(const std::vector<Ipv4Network>& networks) const {
  for (const Ipv4Network& network : networks) {
    const auto covers = [&](const Ipv4Network& one) { return one.covers(network); };
    if (std::ranges::any_of(closed_, covers)) return is_closed_to_containers(network);
  }
  return Ok{};
}

Result<> ListedRoutes::replace_default(const std::vector<Ipv4Network>& networks) {
  for (const Ipv4Network& gone : {kEverywhere, *parse_network(kNameServer)}) {
    auto removed = netlink_.remove_route(gone);
    while (removed.ok()) removed = netlink_.remove_route(gone);
    if (removed.error().code != ErrorCode::not_found) return removed;
  }
  for (const Ipv4Network& network : networks) {
    if (auto added = add(network); !added.ok()) return added;
  }
  return Ok{};
}

Result<> ListedRoutes::add(const Ipv4Network& network) {
  auto added = netlink_.add_route(network, gateway_);
  if (!added.ok() && added.error().code != ErrorCode::conflict) {
    return std::move(added).error().within("route to " + network.text());
  }
  return Ok{};
}

// The address is the interface's own rather than the loopback's: so a socket that is bound to the
// interface comes here with its questions too, and not to whom the machine's side would take them.
Result<> ListedRoutes::open_sockets(const std::string& interface) {
  auto added = netlink_.add_lone_address(interface, parse_network(kNameServer)->address);
  if (!added.ok() && added.error().code != ErrorCode::conflict) return added;
  auto datagrams = open_socket(SOCK_DGRAM);
  if (!datagrams.ok()) return std::move(datagrams).error();
  auto connections = open_socket(SOCK_STREAM);
  if (!connections.ok()) return std::move(connections).error();
  datagrams_ = std::move(*datagrams);
  connections_ = std::move(*connections);
  return Ok{};
}

bool ListedRoutes::is_closed(std::uint32_t address) const {
  return std::ranges::any_of(closed_, [&](const Ipv4Network& one) {
    return one.covers({address, kWholeAddress});
  });
}

Result<> ListedRoutes::open(const std::vector<std::uint32_t>& addresses) {
  std::set<std::uint32_t> wanted;
  for (const std::uint32_t address : addresses) {
    if (is_closed(address)) return is_closed_to_containers({address, kWholeAddress});
    if (!opened_.contains(address)) wanted.insert(address);
  }
  if (opened_.size() + wanted.size() > kMostOpened) {
    return {ErrorCode::resource_exhausted,
            "its names have led to " + std::to_string(kMostOpened) + " addresses, the most"};
  }
  for (const std::uint32_t address : wanted) {
    if (auto added = add({address, kWholeAddress}); !added.ok()) return added;
    opened_.insert(address);
  }
  return Ok{};
}

}  // namespace ember
