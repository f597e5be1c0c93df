// The network fixture of the node's tests: a machine of the test's own, which is a network
// namespace with an interface that leads outside, to another one.
#pragma once

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "node/firewall.h"
#include "node/name_servers.h"
#include "node/netlink.h"
#include "node/network_namespace.h"
#include "node/uv.h"
#include "node/veth_networks.h"

namespace ember {

inline constexpr std::uint16_t kPort = 7001;

inline std::uint32_t address(const char* text) { return parse_network(text)->address; }

inline sockaddr_in socket_address(std::uint32_t host_order, std::uint16_t port) {
  sockaddr_in all{};
  all.sin_family = AF_INET;
  all.sin_addr.s_addr = htonl(host_order);
  all.sin_port = htons(port);
  return all;
}

inline void visit(const UniqueFd& there, const std::function<void()>& what) {
  const UniqueFd here = open_own_network_namespace();
  ASSERT_EQ(::setns(there.get(), CLONE_NEWNET), 0);
  what();
  ASSERT_EQ(::setns(here.get(), CLONE_NEWNET), 0);
}

// A datagram socket of the calling thread's namespace.
class Datagrams {
 public:
  explicit Datagrams(std::uint32_t own = INADDR_ANY, std::uint16_t port = 0)
      : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    const sockaddr_in at = socket_address(own, port);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof(at)), 0);
  }
  // To an interface, whatever the routes.
  void bind_to(const std::string& interface) {
    EXPECT_EQ(::setsockopt(socket_.get(), SOL_SOCKET, SO_BINDTODEVICE, interface.data(),
                           static_cast<socklen_t>(interface.size())),
              0);
  }
  // 0, or errno.
  int send(const std::string& text, std::uint32_t to, std::uint16_t port = kPort) const {
    const sockaddr_in at = socket_address(to, port);
    const ssize_t sent = ::sendto(socket_.get(), text.data(), text.size(), 0,
                                  reinterpret_cast<const sockaddr*>(&at), sizeof(at));
    return sent < 0 ? errno : 0;
  }
  // Waits for one; "nothing" if none comes for long.
  std::string receive() {
    pollfd waiting{socket_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 5000) != 1) return "nothing";
    return receive_now();
  }
  std::string receive_now() {
    char text[4096];
    socklen_t size = sizeof(from);
    const ssize_t got = ::recvfrom(socket_.get(), text, sizeof(text), MSG_DONTWAIT,
                                   reinterpret_cast<sockaddr*>(&from), &size);
    return got < 0 ? "nothing" : std::string(text, static_cast<std::size_t>(got));
  }

  sockaddr_in from{};  // of what was received last

 private:
  UniqueFd socket_;
};

// Its body runs on a thread whose network is a machine of its own: 203.0.113.2, with a neighbour at
// 203.0.113.3 that has the machine's name server's address too.
class NetworkTest : public testing::Test {
 protected:
  void on_a_machine(const std::function<void()>& body) {
    const auto nft = find_program("nft");
    if (::geteuid() != 0 || !nft) GTEST_SKIP() << "it takes root and nftables";
    const auto resolver = find_resolver();
    if (!resolver.ok()) GTEST_SKIP() << resolver.error().message;
    char name[] = "/tmp/ember-veth-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    setup_ = {.node = NodeId{static_cast<std::uint64_t>(::getpid())},
              .directory = std::string(name) + "/networks",
              .nft = *nft,
              .allowed = {*parse_network("203.0.113.2")}};
    std::thread([&] {
      build(resolver->address);
      if (!HasFatalFailure()) body();
      if (networks_) networks_->end_all();
      networks_.reset();
      EXPECT_THAT(Netlink::open()->links_named("em"), testing::IsEmpty());
      EXPECT_EQ(firewall_rules(firewall_table_of(setup_.node)), 0u);
    }).join();
    std::ifstream mounts("/proc/self/mountinfo");
    const std::string mounted((std::istreambuf_iterator<char>(mounts)), {});
    EXPECT_EQ(mounted.find(name), std::string::npos) << "a namespace is still held";
    std::filesystem::remove_all(name);
  }

  void build(std::uint32_t resolver) {
    ASSERT_TRUE(enter_new_network_namespace());
    const UniqueFd machine = open_own_network_namespace();
    ASSERT_TRUE(enter_new_network_namespace());
    outside_ = open_own_network_namespace();
    ASSERT_EQ(::setns(machine.get(), CLONE_NEWNET), 0);
    auto netlink = Netlink::open();
    ASSERT_TRUE(netlink.ok());
    ASSERT_TRUE(netlink->take_up("lo").ok());
    ASSERT_TRUE(netlink->add_veth({"up0", "up0", outside_.get(), 1400}).ok());
    ASSERT_TRUE(netlink->add_address("up0", address("203.0.113.2")).ok());
    ASSERT_TRUE(netlink->take_up("up0").ok());
    visit(outside_, [&] {
      auto there = Netlink::open();
      ASSERT_TRUE(there->take_up("lo").ok());
      ASSERT_TRUE(there->add_address("up0", address("203.0.113.3")).ok());
      ASSERT_TRUE(there->add_address("up0", resolver).ok());
      ASSERT_TRUE(there->add_address("up0", address("10.66.0.1")).ok());
      ASSERT_TRUE(there->take_up("up0").ok());
    });
    ASSERT_TRUE(netlink->add_route({0, 0}, address("203.0.113.3")).ok());
    start();
  }

  void start() {
    networks_ = make_veth_networks(loop_, setup_);
    auto begun = networks_->begin(std::nullopt);
    ASSERT_TRUE(begun.ok()) << begun.error().message;
    auto tried = networks_->try_out();
    ASSERT_TRUE(tried.ok()) << tried.error().message;
  }

  struct Container {
    Network network;
    UniqueFd there;
    std::uint32_t own = 0, machines = 0;
  };
  Container make() {
    Container made;
    bool done = false;
    networks_->make([&](Result<Network> network) {
      done = true;
      ASSERT_TRUE(network.ok()) << network.error().message;
      made.network = *network;
    });
    loop_.restart();
    while (!done) loop_.run_one();
    made.there = UniqueFd(::open(made.network.path.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_TRUE(made.there);
    visit(made.there, [&] {
      for (const Ipv4Network& one : own_addresses()) made.own = one.address;
    });
    made.machines = made.own - 1;
    return made;
  }
  // As no container may: so that the machine's side stands alone.
  static void open_in_namespace(const Container& container) {
    visit(container.there, [] {
      auto netlink = Netlink::open();
      const auto routes = netlink->routes();
      ASSERT_TRUE(routes.ok());
      for (const auto& route : *routes) {
        if (route.interface.empty() || route.interface == "lo") {
          (void)netlink->remove_route(route.to).ok();
        }
      }
    });
  }

  boost::asio::io_context loop_{1};
  VethSetup setup_;
  UniqueFd outside_;
  std::unique_ptr<VethNetworks> networks_;
};

}  // namespace ember
