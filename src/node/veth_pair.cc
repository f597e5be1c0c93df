#include "node/veth_pair.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>

#include "node/network_maker.h"
#include "node/network_namespace.h"

namespace ember {
namespace {

constexpr const char* kLoopback = "lo";
constexpr Ipv4Network kEverywhere{0, 0};
// Documentation's own: nobody is there, and no container is kept from it.
constexpr Ipv4Network kOutside{0xc633'6400, 24};  // 198.51.100.0
constexpr std::uint32_t kOutsidePairs = 128;
constexpr std::uint16_t kTrialPort = 7777;
constexpr timeval kTrialLimit{0, 250'000};
constexpr int kTrials = 12;

Error failed(const std::string& what) {
  return {ErrorCode::unavailable, what + ": " + std::strerror(errno)};
}

void set(const std::string& setting, const std::string& value) {
  const UniqueFd file(::open(("/proc/sys/net/" + setting).c_str(), O_WRONLY | O_CLOEXEC));
  [[maybe_unused]] const ssize_t ignored = ::write(file.get(), value.data(), value.size());
}

Result<UniqueFd> new_namespace(const std::vector<Ipv4Network>& closed) {
  const UniqueFd here = open_own_network_namespace();
  if (!here || !enter_new_network_namespace()) return failed("make a network namespace");
  const bool is_closed = close_networks(closed);
  const int why = errno;
  UniqueFd made = open_own_network_namespace();
  if (::setns(here.get(), CLONE_NEWNET) != 0) return failed("leave the namespace");
  errno = why;
  if (!is_closed) return failed("close networks");
  if (!made) return failed("hold the namespace");
  return made;
}

Result<> hold(const UniqueFd& made, const std::string& path) {
  const UniqueFd point(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const std::string from = "/proc/self/fd/" + std::to_string(made.get());
  if (!point || ::mount(from.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return failed("hold the namespace at " + path);
  }
  return Ok{};
}

Result<> run_in_turn(const std::vector<std::function<Result<>()>>& steps) {
  for (const auto& step : steps) {
    if (auto done = step(); !done.ok()) return done;
  }
  return Ok{};
}

Result<> set_up_end_here(Netlink& netlink, const std::string& name, std::uint32_t address) {
  set("ipv6/conf/" + name + "/disable_ipv6", "1");
  set("ipv4/conf/" + name + "/forwarding", "1");
  set("ipv4/conf/" + name + "/send_redirects", "0");
  // A container may send straight by its interface where it has no route (SO_BINDTODEVICE): it
  // finds nobody there but this end, be it for this machine's other addresses or on behalf of
  // others.
  set("ipv4/conf/" + name + "/arp_ignore", "1");
  set("ipv4/conf/" + name + "/medium_id", "-1");
  set("ipv4/conf/" + name + "/accept_source_route", "0");
  return run_in_turn(
      {[&] { return netlink.add_address(name, address); }, [&] { return netlink.take_up(name); }});
}

Result<> set_up_other_end(std::uint32_t address, std::uint32_t gateway) {
  auto netlink = Netlink::open();
  if (!netlink.ok()) return std::move(netlink).error();
  return run_in_turn({[&] { return netlink->take_up(kLoopback); },
                      [&] { return netlink->add_address(kVethInContainer, address); },
                      [&] { return netlink->take_up(kVethInContainer); },
                      [&] { return netlink->wait_until_it_runs(kVethInContainer); },
                      [&] { return netlink->add_route(kEverywhere, gateway); },
                      [&] { return netlink->add_route(*parse_network(kNameServer), gateway); }});
}

Result<> set_up(Netlink& netlink, const VethPair& pair, const UniqueFd& there) {
  return run_in_turn({[&] { return set_up_end_here(netlink, pair.name, pair.machine_address); },
                      [&] {
                        return in_network_namespace(there, [&] {
                          return set_up_other_end(pair.container_address, pair.machine_address);
                        });
                      },
                      [&] { return netlink.wait_until_it_runs(pair.name); }});
}

// --- trying it --------------------------------------------------------------------------------

sockaddr_in socket_address(std::uint32_t address) {
  sockaddr_in all{};
  all.sin_family = AF_INET;
  all.sin_addr.s_addr = htonl(address);
  all.sin_port = htons(kTrialPort);
  return all;
}

// A datagram socket of that namespace.
Result<UniqueFd> open_socket(const UniqueFd& there, std::uint32_t address) {
  UniqueFd socket;
  auto opened = in_network_namespace(there, [&]() -> Result<> {
    socket = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const sockaddr_in own = socket_address(address);
    if (!socket || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) {
      return failed("open a socket");
    }
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kTrialLimit, sizeof(kTrialLimit));
    return Ok{};
  });
  if (!opened.ok()) return std::move(opened).error();
  return socket;
}

bool send(const UniqueFd& socket, const sockaddr_in& to) {
  return ::sendto(socket.get(), "?", 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 1;
}

bool receive(const UniqueFd& socket, sockaddr_in& from) {
  socklen_t size = sizeof(from);
  char byte;
  return ::recvfrom(socket.get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size) == 1;
}

Result<> ask_and_answer(const UniqueFd& inside, const UniqueFd& outside, const VethPair& pair,
                        std::uint32_t outside_address) {
  const auto asking = open_socket(inside, pair.container_address);
  const auto answering = open_socket(outside, outside_address);
  if (!asking.ok()) return asking.error();
  if (!answering.ok()) return answering.error();
  sockaddr_in from{};
  bool heard = false;
  for (int trial = 0; trial < kTrials && !heard; ++trial) {
    heard = send(*asking, socket_address(outside_address)) && receive(*answering, from);
  }
  if (!heard) {
    return {ErrorCode::unavailable,
            "what a container sends is not passed on by this machine: a firewall's rule for "
            "forwarding stands in its way"};
  }
  if (ntohl(from.sin_addr.s_addr) == pair.container_address) {
    return {ErrorCode::unavailable, "a container's address is not masked by this machine's"};
  }
  if (!send(*answering, from) || !receive(*asking, from)) {
    return {ErrorCode::unavailable, "answers to what a container sends do not come back to it"};
  }
  return Ok{};
}

Result<std::uint32_t> free_outside_pair(Netlink& netlink, std::uint32_t first) {
  const auto routes = netlink.routes();
  if (!routes.ok()) return routes.error();
  for (std::uint32_t i = 0; i < kOutsidePairs; ++i) {
    const Ipv4Network pair{kOutside.address + 2 * ((first + i) % kOutsidePairs), 31};
    const bool taken = std::ranges::any_of(*routes, [&](const Netlink::Route& route) {
      return route.to.covers(pair) || pair.covers(route.to);
    });
    if (!taken) return pair.address;
  }
  return {ErrorCode::conflict, "this machine has a route to all of " + kOutside.text()};
}

Result<> try_with(Netlink& netlink, const VethPair& pair, const std::string& outside_name) {
  const auto inside = new_namespace({}), outside = new_namespace({});
  if (!inside.ok()) return inside.error();
  if (!outside.ok()) return outside.error();
  const auto first = static_cast<std::uint32_t>(std::hash<std::string>{}(outside_name));
  const auto there = free_outside_pair(netlink, first % kOutsidePairs);
  if (!there.ok()) return there.error();
  return run_in_turn(
      {[&] {
         return netlink.add_veth({pair.name, kVethInContainer, inside->get(), pair.mtu_bytes});
       },
       [&] { return set_up(netlink, pair, *inside); },
       [&] {
         return netlink.add_veth({outside_name, kVethInContainer, outside->get(), pair.mtu_bytes});
       },
       [&] { return set_up_end_here(netlink, outside_name, *there); },
       [&] {
         return in_network_namespace(*outside,
                                     [&] { return set_up_other_end(*there + 1, *there); });
       },
       [&] { return netlink.wait_until_it_runs(outside_name); },
       [&] { return ask_and_answer(*inside, *outside, pair, *there + 1); }});
}

}  // namespace

Result<> make_veth_pair(const VethPair& pair, const std::vector<Ipv4Network>& closed) {
  auto netlink = Netlink::open();
  if (!netlink.ok()) return std::move(netlink).error();
  auto made = new_namespace(closed);
  if (!made.ok()) return std::move(made).error();
  auto added = netlink->add_veth({pair.name, kVethInContainer, made->get(), pair.mtu_bytes});
  if (!added.ok()) return added;
  auto done = run_in_turn({[&] { return set_up(*netlink, pair, *made); },
                           [&] { return hold(*made, pair.namespace_path); }});
  if (!done.ok()) remove_veth_pair(*netlink, pair.name, pair.namespace_path);
  return done;
}

void remove_veth_pair(Netlink& netlink, const std::string& name,
                      const std::string& namespace_path) {
  (void)netlink.remove_link(name).ok();
  ::umount2(namespace_path.c_str(), MNT_DETACH);
  ::unlink(namespace_path.c_str());
}

Result<> try_veth_pair(const VethPair& pair, const std::string& outside) {
  auto netlink = Netlink::open();
  if (!netlink.ok()) return std::move(netlink).error();
  auto tried = try_with(*netlink, pair, outside);
  (void)netlink->remove_link(pair.name).ok();
  (void)netlink->remove_link(outside).ok();
  return tried;
}

}  // namespace ember
