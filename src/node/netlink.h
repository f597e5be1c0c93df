// The kernel's word on interfaces, addresses and routes (rtnetlink), of the network namespace that
// the calling thread is in when it opens one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "node/closed_networks.h"

struct mnl_socket;
struct nlmsghdr;

namespace ember {

class Netlink {
 public:
  static Result<Netlink> open();

  // A pair of interfaces, the one here, its peer in the other namespace. `conflict`: there is one
  // of that name.
  struct Pair {
    std::string name, peer;
    int peer_namespace = -1;
    std::uint32_t mtu_bytes = 1500;
  };
  Result<> add_veth(const Pair& pair);
  Result<> remove_link(const std::string& name);
  Result<> take_up(const std::string& name);
  // Waits until it passes traffic, which it does a while after it and its peer are up.
  Result<> wait_until_it_runs(const std::string& name);
  // One address of a network of two.
  Result<> add_address(const std::string& name, std::uint32_t address);
  // An address alone, which nothing is sent from by itself. `conflict`: it is there already.
  Result<> add_lone_address(const std::string& name, std::uint32_t address);
  // Through a neighbour. `conflict`: there is one to that network.
  Result<> add_route(const Ipv4Network& to, std::uint32_t through);
  // `not_found`: there is none to that network.
  Result<> remove_route(const Ipv4Network& to);

  // What has come in by the interface; nothing if there is none of that name.
  std::optional<std::int64_t> received_bytes(const std::string& name);
  std::vector<std::string> links_named(std::string_view prefix);

  struct Route {
    Ipv4Network to;
    std::string interface;  // empty: none, as of one that leads nowhere
  };
  // Of the interface that leads to the internet; nothing where none does.
  std::optional<std::uint32_t> internet_mtu_bytes();
  // All but those that lead everywhere.
  Result<std::vector<Route>> routes();

 private:
  struct Close {
    void operator()(mnl_socket* socket) const;
  };

  explicit Netlink(mnl_socket* socket) : socket_(socket) {}
  template <class OnMessage>
  Result<> talk(nlmsghdr* request, OnMessage on_message);
  // Asks for all that there is, and again where it changed meanwhile: `begin` comes before each
  // try.
  template <class Begin, class OnMessage>
  Result<> dump(nlmsghdr* request, Begin begin, OnMessage on_message);
  Result<> order(nlmsghdr* request);
  struct Address {
    std::uint32_t address = 0;
    std::uint8_t prefix_bits = 0, scope = 0;
  };
  Result<> add_address(const std::string& name, const Address& address);

  std::unique_ptr<mnl_socket, Close> socket_;
  std::uint32_t sequence_ = 0;
};

}  // namespace ember
