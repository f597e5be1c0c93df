#include "node/closed_networks.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <set>

#include "model/closed_ranges.h"
#include "node/unique_fd.h"

namespace ember {
namespace {

constexpr std::uint32_t address(std::uint32_t a, std::uint32_t b, std::uint32_t c = 0) {
  return a << 24 | b << 16 | c << 8;
}

constexpr Ipv4Network kLoopback{address(127, 0), 8};
// Inside a container's network: gateway, name server, with slirp4netns the container. It leads
// nowhere else.
constexpr Ipv4Network kInside{address(10, 0, 2), 24};

constexpr std::uint32_t mask_of(int prefix_bits) {
  return prefix_bits == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix_bits);
}

bool is_covered(const Ipv4Network& network, const std::vector<Ipv4Network>& by) {
  return std::ranges::any_of(by, [&](const Ipv4Network& one) { return one.covers(network); });
}

// Halves the network until each part is within what is allowed or apart from it.
void add_without(const Ipv4Network& network, const std::vector<Ipv4Network>& allowed,
                 std::set<Ipv4Network>& closed) {
  if (is_covered(network, allowed)) return;
  if (std::ranges::none_of(allowed, [&](const auto& one) { return network.covers(one); })) {
    closed.insert(network);
    return;
  }
  const int bits = network.prefix_bits + 1;
  add_without({network.address, bits}, allowed, closed);
  add_without({network.address | std::uint32_t{1} << (32 - bits), bits}, allowed, closed);
}

sockaddr socket_address(std::uint32_t host_order) {
  sockaddr all{};
  sockaddr_in& internet = reinterpret_cast<sockaddr_in&>(all);
  internet.sin_family = AF_INET;
  internet.sin_addr.s_addr = htonl(host_order);
  return all;
}

}  // namespace

Result<> check_allowed(const Ipv4Network& network) {
  if (kLoopback.covers(network)) {
    return {ErrorCode::invalid_argument,
            network.text() +
                " is loopback, and in a container that is its own; name another "
                "address of this machine that the service listens on"};
  }
  if (kInside.covers(network)) {
    return {
        ErrorCode::invalid_argument,
        network.text() + " is inside each container's own network, and leads to no other network"};
  }
  return Ok{};
}

std::vector<Ipv4Network> own_addresses() {
  std::vector<Ipv4Network> all;
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return all;
  for (const ifaddrs* one = first; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    const auto* internet = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
    const bool is_loopback = (one->ifa_flags & IFF_LOOPBACK) != 0;
    const std::uint32_t host_order = ntohl(internet->sin_addr.s_addr);
    // 127.0.0.0/8 is the container's own there; a loopback interface may have others too.
    if (is_loopback && kLoopback.covers({host_order, 32})) continue;
    all.push_back({host_order, 32});
  }
  ::freeifaddrs(first);
  return all;
}

std::vector<Ipv4Network> closed_networks(const std::vector<Ipv4Network>& own,
                                         const std::vector<Ipv4Network>& allowed) {
  std::set<Ipv4Network> closed;
  for (const Ipv4Network& range : closed_ipv4_networks()) add_without(range, allowed, closed);
  for (const Ipv4Network& one : own) {
    const bool is_named = std::ranges::find(allowed, one) != allowed.end();
    const bool is_closed =
        std::ranges::any_of(closed, [&](const auto& range) { return range.covers(one); });
    if (!is_named && !is_closed && !kInside.covers(one)) closed.insert(one);
  }
  return {closed.begin(), closed.end()};
}

bool close_networks(const std::vector<Ipv4Network>& networks) {
  const UniqueFd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control) return false;
  for (const Ipv4Network& network : networks) {
    rtentry route{};
    route.rt_dst = socket_address(network.address);
    route.rt_genmask = socket_address(mask_of(network.prefix_bits));
    route.rt_flags = RTF_UP | RTF_REJECT;
    if (::ioctl(control.get(), SIOCADDRT, &route) != 0) return false;
  }
  return true;
}

}  // namespace ember
