// The veth pairs of containers and the firewall on the machine's side, on a machine of the test's
// own: a network namespace with an interface that leads outside, to another one.
#include "node/veth_networks.h"

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
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "node/firewall.h"
#include "node/netlink.h"
#include "node/network_namespace.h"
#include "node/uv.h"

namespace ember {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint16_t kPort = 7001;

std::uint32_t address(const char* text) { return parse_network(text)->address; }

sockaddr_in socket_address(std::uint32_t host_order, std::uint16_t port) {
  sockaddr_in all{};
  all.sin_family = AF_INET;
  all.sin_addr.s_addr = htonl(host_order);
  all.sin_port = htons(port);
  return all;
}

void visit(const UniqueFd& there, const std::function<void()>& what) {
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
    char text[100];
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
class VethNetworksTest : public testing::Test {
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
      EXPECT_THAT(Netlink::open()->links_named("em"), IsEmpty());
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
    loop_.run();
    EXPECT_TRUE(done);
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

TEST_F(VethNetworksTest, AContainerReachesTheOutsideUnderTheMachinesAddressAndHearsTheAnswer) {
  on_a_machine([&] {
    const Container one = make();
    visit(outside_, [&] {
      Datagrams server(INADDR_ANY, kPort);
      visit(one.there, [&] {
        Datagrams client;
        EXPECT_EQ(client.send("hello", address("203.0.113.3")), 0);
        EXPECT_EQ(server.receive(), "hello");
        EXPECT_EQ(ntohl(server.from.sin_addr.s_addr), address("203.0.113.2"));
        EXPECT_EQ(
            server.send("back", ntohl(server.from.sin_addr.s_addr), ntohs(server.from.sin_port)),
            0);
        EXPECT_EQ(client.receive(), "back");
      });
    });
  });
}

TEST_F(VethNetworksTest, ANameServersQuestionsGoToTheMachinesOwnAndNothingElseDoes) {
  on_a_machine([&] {
    const Container one = make();
    const std::uint32_t resolver = find_resolver()->address;
    visit(outside_, [&] {
      Datagrams server(resolver, 53), other(resolver, kPort);
      visit(one.there, [&] {
        Datagrams client;
        EXPECT_EQ(client.send("other", address(kNameServer), kPort), 0);
        EXPECT_EQ(client.send("name?", address(kNameServer), 53), 0);
        EXPECT_EQ(server.receive(), "name?");
        EXPECT_EQ(other.receive_now(), "nothing");
        EXPECT_EQ(
            server.send("name", ntohl(server.from.sin_addr.s_addr), ntohs(server.from.sin_port)),
            0);
        EXPECT_EQ(client.receive(), "name");
        EXPECT_EQ(ntohl(client.from.sin_addr.s_addr), address(kNameServer));
      });
    });
  });
}

TEST_F(VethNetworksTest, InItsNamespaceClosedNetworksLeadNowhere) {
  on_a_machine([&] {
    const Container one = make();
    const Container other = make();
    visit(one.there, [&] {
      for (const std::uint32_t closed :
           {address("10.66.0.1"), address("169.254.169.254"), address("192.168.1.1"), other.own}) {
        EXPECT_EQ(Datagrams().send("x", closed), EHOSTUNREACH) << Ipv4Network{closed}.text();
      }
    });
  });
}

// What arrives in order: when the last has come, the others would have.
TEST_F(VethNetworksTest, TheMachinesSideClosesThemToWhoeverOpenedTheNamespace) {
  on_a_machine([&] {
    const Container one = make(), other = make();
    open_in_namespace(one);
    Datagrams machine(INADDR_ANY, kPort);
    Datagrams loopback(INADDR_LOOPBACK, kPort + 1);
    visit(outside_, [&] {
      Datagrams outside(INADDR_ANY, kPort);
      visit(other.there, [&] {
        Datagrams neighbour(INADDR_ANY, kPort);
        visit(one.there, [&] {
          Datagrams client;
          EXPECT_EQ(client.send("private", address("10.66.0.1")), 0);
          EXPECT_EQ(client.send("metadata", address("169.254.169.254")), 0);
          EXPECT_EQ(client.send("pair", one.machines), 0);
          EXPECT_EQ(client.send("other pair", other.machines), 0);
          EXPECT_EQ(client.send("neighbour", other.own), 0);
          EXPECT_EQ(client.send("public", address("203.0.113.3")), 0);
          EXPECT_EQ(client.send("allowed", address("203.0.113.2")), 0);
        });
        EXPECT_EQ(neighbour.receive_now(), "nothing");
      });
      EXPECT_EQ(outside.receive(), "public");
      EXPECT_EQ(outside.receive_now(), "nothing");
    });
    EXPECT_EQ(machine.receive(), "allowed");
    EXPECT_EQ(machine.receive_now(), "nothing");
    EXPECT_EQ(loopback.receive_now(), "nothing");
  });
}

TEST_F(VethNetworksTest, WhatBearsAnothersAddressIsDropped) {
  on_a_machine([&] {
    const Container one = make(), other = make();
    Datagrams machine(INADDR_ANY, kPort);
    visit(one.there, [&] {
      auto netlink = Netlink::open();
      ASSERT_TRUE(netlink->add_address("eth0", other.own).ok());
      ASSERT_TRUE(netlink->add_address("eth0", address("203.0.113.8")).ok());
      EXPECT_EQ(Datagrams(other.own).send("neighbour", address("203.0.113.2")), 0);
      EXPECT_EQ(Datagrams(address("203.0.113.8")).send("forged", address("203.0.113.2")), 0);
      EXPECT_EQ(Datagrams(one.own).send("own", address("203.0.113.2")), 0);
    });
    EXPECT_EQ(machine.receive(), "own");
    EXPECT_EQ(machine.receive_now(), "nothing");
  });
}

TEST_F(VethNetworksTest, NobodyReachesIntoAContainer) {
  on_a_machine([&] {
    const Container one = make();
    visit(one.there, [&] {
      Datagrams inside(INADDR_ANY, kPort);
      Datagrams client;
      visit(outside_, [&] {
        Datagrams outside(INADDR_ANY, kPort);
        auto netlink = Netlink::open();
        ASSERT_TRUE(netlink->add_route({one.own, 32}, address("203.0.113.2")).ok());
        EXPECT_EQ(Datagrams().send("from outside", one.own), 0);
        visit(one.there, [&] { EXPECT_EQ(client.send("ask", address("203.0.113.3")), 0); });
        EXPECT_EQ(outside.receive(), "ask");
        EXPECT_EQ(outside.send("answer", ntohl(outside.from.sin_addr.s_addr),
                               ntohs(outside.from.sin_port)),
                  0);
      });
      EXPECT_EQ(client.receive(), "answer");
      EXPECT_EQ(inside.receive_now(), "nothing");
    });
    EXPECT_EQ(Datagrams().send("from the machine", one.own), EPERM);
  });
}

TEST_F(VethNetworksTest, CountsEachByteThatLeavesTheNamespaceAlsoWhenItsProcessesAreGone) {
  on_a_machine([&] {
    const Container one = make();
    EXPECT_EQ(networks_->egress_bytes(one.network.record), 0);
    std::int64_t counted = 0;
    visit(one.there, [&] {
      const std::string text(1000, 'x');
      for (int i = 0; i < 50; ++i) EXPECT_EQ(Datagrams().send(text, address("203.0.113.3")), 0);
      std::ifstream lines("/proc/thread-self/net/dev");
      for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string name;
        fields >> name;
        if (name != "eth0:") continue;
        for (int field = 0; field < 9; ++field) fields >> counted;
      }
    });
    EXPECT_GE(counted, 50 * 1000);
    EXPECT_EQ(networks_->egress_bytes(one.network.record), counted);
    networks_->end(one.network.record);
    networks_->end_all_but({});
    EXPECT_EQ(networks_->egress_bytes(one.network.record), std::nullopt);
    EXPECT_FALSE(networks_->lives(one.network.record));
  });
}

TEST_F(VethNetworksTest, AnotherLifeKeepsWhatContainersUseAndSweepsTheRest) {
  on_a_machine([&] {
    const Container used = make();
    const Ipv4Network range = networks_->range();
    make();
    networks_.reset();
    EXPECT_GT(firewall_rules(firewall_table_of(setup_.node)), 0u) << "containers live on";
    networks_ = make_veth_networks(loop_, setup_);
    networks_->end_all_but({used.network.record});
    EXPECT_EQ(Netlink::open()->links_named("em").size(), 1u);
    start();
    EXPECT_EQ(networks_->range(), range);
    EXPECT_TRUE(networks_->lives(used.network.record));
    const Container next = make();
    EXPECT_NE(next.own, used.own);
    networks_->end_all();
    EXPECT_EQ(firewall_rules(firewall_table_of(setup_.node)), 0u);
  });
}

TEST_F(VethNetworksTest, WallsThatSomebodySweepsAwayStandAgainAtOnce) {
  on_a_machine([&] {
    const Container one = make();
    const std::string table = firewall_table_of(setup_.node);
    const std::size_t rules = firewall_rule_count();
    EXPECT_EQ(firewall_rules(table), rules);
    // Also while they are being put back.
    for (int i = 0; i < 20; ++i) {
      const std::string sweep = i % 2 == 0 ? " flush ruleset" : " flush table inet " + table;
      (void)std::system((setup_.nft + sweep + " 2>/dev/null").c_str());  // there may be none
    }
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (firewall_rules(table) != rules && std::chrono::steady_clock::now() < limit) {
      std::this_thread::yield();
    }
    EXPECT_EQ(firewall_rules(table), rules);
  });
}

TEST_F(VethNetworksTest, AFirewallThatForbidsForwardingIsFoundOut) {
  on_a_machine([&] {
    const std::string rules = setup_.directory + "/forbid.nft";
    std::ofstream(rules)
        << "table ip forbid {\n chain passing {\n type filter hook forward priority 0;"
           " policy drop; }\n}\n";
    ASSERT_EQ(std::system((setup_.nft + " -f " + rules).c_str()), 0);
    const auto tried = networks_->try_out();
    ASSERT_FALSE(tried.ok());
    EXPECT_THAT(tried.error().message, HasSubstr("a firewall's rule for forwarding"));
    EXPECT_THAT(Netlink::open()->links_named("e"), IsEmpty());
  });
}

TEST_F(VethNetworksTest, AWantedRangeThatMeetsARouteIsRefused) {
  on_a_machine([&] {
    ASSERT_TRUE(
        Netlink::open()->add_route(*parse_network("10.99.0.0/16"), address("203.0.113.3")).ok());
    auto networks = make_veth_networks(loop_, setup_);
    const auto begun = networks->begin(*parse_network("10.99.128.0/18"));
    ASSERT_FALSE(begun.ok());
    EXPECT_THAT(begun.error().message,
                HasSubstr("10.99.128.0/18 meets this machine's route to 10.99.0.0/16 by up0"));
  });
}

}  // namespace
}  // namespace ember
