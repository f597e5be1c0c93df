#include "node/container_range.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ember {
namespace {

constexpr int kLongestPrefixBits = 24;
constexpr std::uint32_t kMostPairs = 8192;  // their numbers have four digits
// Corners of the private networks that are rarely used, each with room for a node's containers.
constexpr Ipv4Network kCandidates[] = {
    {0x0ad5'0000, 18}, {0x0ad5'4000, 18}, {0x0ad5'8000, 18}, {0x0ad5'c000, 18},  // 10.213.0.0/16
    {0xac1b'0000, 18}, {0xac1b'4000, 18}, {0xac1b'8000, 18}, {0xac1b'c000, 18},  // 172.27.0.0/16
    {0xc0a8'c000, 18},                                                           // 192.168.192.0
};
constexpr Ipv4Network kPrivate[] = {{0x0a00'0000, 8}, {0xac10'0000, 12}, {0xc0a8'0000, 16}};

bool overlap(const Ipv4Network& one, const Ipv4Network& other) {
  return one.covers(other) || other.covers(one);
}

// A name of the machine's network that one process has, until it ends.
UniqueFd claim(const Ipv4Network& network) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string text = "ember-containers-" + network.text();
  text.copy(name.sun_path + 1, sizeof(name.sun_path) - 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  const bool bound =
      socket && ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), size) == 0;
  return bound ? std::move(socket) : UniqueFd();
}

Result<ContainerRange> try_range(const Ipv4Network& network,
                                 const std::vector<Netlink::Route>& routes,
                                 const std::string& own_prefix) {
  for (const Netlink::Route& route : routes) {
    if (route.interface.starts_with(own_prefix) || !overlap(route.to, network)) continue;
    return {ErrorCode::conflict, network.text() + " meets this machine's route to " +
                                     route.to.text() +
                                     (route.interface.empty() ? "" : " by " + route.interface)};
  }
  UniqueFd claimed = claim(network);
  if (!claimed) {
    return {ErrorCode::conflict, network.text() + " is taken by another node of this machine"};
  }
  return ContainerRange{network, std::move(claimed)};
}

}  // namespace

std::uint32_t ContainerRange::pairs() const {
  return std::min(kMostPairs, std::uint32_t{1} << (31 - network.prefix_bits));
}

Result<> check_container_range(const Ipv4Network& network) {
  const auto covers = [&](const Ipv4Network& one) { return one.covers(network); };
  if (std::ranges::any_of(kPrivate, covers) && network.prefix_bits <= kLongestPrefixBits &&
      check_allowed(network).ok() && !overlap(network, *parse_network("10.0.2.0/24"))) {
    return Ok{};
  }
  return {ErrorCode::invalid_argument,
          network.text() +
              " cannot be the containers' range: it takes a private network of /24 or more, and "
              "not 10.0.2.0/24, such as 10.213.0.0/18"};
}

Result<ContainerRange> claim_container_range(const std::optional<Ipv4Network>& wanted,
                                             const std::vector<Netlink::Route>& routes,
                                             const std::string& own_prefix) {
  if (wanted) return try_range(*wanted, routes, own_prefix);
  std::vector<Ipv4Network> candidates(std::begin(kCandidates), std::end(kCandidates));
  std::ranges::stable_partition(candidates, [&](const Ipv4Network& candidate) {
    return std::ranges::any_of(routes, [&](const Netlink::Route& route) {
      return route.interface.starts_with(own_prefix) && candidate.covers(route.to);
    });
  });
  Result<ContainerRange> range{ErrorCode::conflict, ""};
  for (const Ipv4Network& candidate : candidates) {
    range = try_range(candidate, routes, own_prefix);
    if (range.ok()) return range;
  }
  return {ErrorCode::conflict, "no private range is free for containers (the last tried: " +
                                   range.error().message + "); name one with --container-range"};
}

}  // namespace ember
