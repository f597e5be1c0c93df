// The veth pairs of containers and the firewall on the machine's side.
#include "node/veth_networks.h"

#include <sstream>

#include "node/network_fixture.h"

namespace ember {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class VethNetworksTest : public NetworkTest {};

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
