#include "node/container_range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

#include "node/network_namespace.h"

namespace ember {
namespace {

using testing::HasSubstr;

Netlink::Route route(std::string_view to, std::string interface) {
  return {*parse_network(to), std::move(interface)};
}

// Claims are of the machine: the test has one of its own where it may.
void apart(const std::function<void()>& body) {
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "it takes root";
    body();
  }).join();
}

TEST(ContainerRange, IsTheFirstThatNoRouteLeadsTo) {
  apart([] {
    const auto range = claim_container_range(
        std::nullopt, {route("10.213.3.0/24", "eth1"), route("10.213.64.0/18", "tun0")}, "em1-");
    ASSERT_TRUE(range.ok()) << range.error().message;
    EXPECT_EQ(range->network.text(), "10.213.128.0/18");
    EXPECT_EQ(range->pairs(), 8192u);
    EXPECT_EQ(Ipv4Network{range->machine_address(3)}.text(), "10.213.128.6/32");
    EXPECT_EQ(Ipv4Network{range->container_address(3)}.text(), "10.213.128.7/32");
  });
}

TEST(ContainerRange, IsThatOfTheNodesEarlierLife) {
  apart([] {
    const auto range =
        claim_container_range(std::nullopt, {route("172.27.64.8/31", "em1-4")}, "em1-");
    ASSERT_TRUE(range.ok());
    EXPECT_EQ(range->network.text(), "172.27.64.0/18");
    EXPECT_TRUE(claim_container_range(*parse_network("10.213.0.0/18"),
                                      {route("10.213.0.8/31", "em1-4")}, "em1-")
                    .ok());
  });
}

TEST(ContainerRange, IsOneNodesAlone) {
  apart([] {
    auto first = claim_container_range(std::nullopt, {}, "em1-");
    const auto second = claim_container_range(std::nullopt, {}, "em2-");
    ASSERT_TRUE(first.ok() && second.ok());
    EXPECT_NE(first->network, second->network);
    const auto third = claim_container_range(first->network, {}, "em3-");
    ASSERT_FALSE(third.ok());
    EXPECT_THAT(third.error().message, HasSubstr("is taken by another node of this machine"));
    first->claim = {};
    EXPECT_TRUE(claim_container_range(first->network, {}, "em3-").ok());
  });
}

TEST(ContainerRange, RefusesWithTheRouteThatStandsInTheWay) {
  const auto all =
      claim_container_range(std::nullopt,
                            {route("10.0.0.0/8", "tun0"), route("172.16.0.0/12", "tun0"),
                             route("192.168.0.0/16", "eth0")},
                            "em1-");
  ASSERT_FALSE(all.ok());
  EXPECT_THAT(all.error().message,
              HasSubstr("192.168.192.0/18 meets this machine's route to 192.168.0.0/16 by eth0"));
  EXPECT_THAT(all.error().message, HasSubstr("--container-range"));
}

TEST(ContainerRange, IsAPrivateNetworkWithRoom) {
  for (const char* text : {"10.213.0.0/18", "192.168.7.0/24", "172.16.0.0/12"}) {
    EXPECT_TRUE(check_container_range(*parse_network(text)).ok()) << text;
  }
  for (const char* text : {"203.0.113.0/24", "10.0.0.0/8", "10.0.2.0/24", "10.0.0.0/16",
                           "192.168.7.0/25", "0.0.0.0/0", "127.0.0.0/16"}) {
    EXPECT_FALSE(check_container_range(*parse_network(text)).ok()) << text;
  }
}

}  // namespace
}  // namespace ember
