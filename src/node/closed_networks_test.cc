#include "node/closed_networks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace ember {
namespace {

using testing::Contains;
using testing::Not;

Ipv4Network network(std::string_view text) {
  const auto parsed = parse_network(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed.ok() ? *parsed : Ipv4Network{};
}

bool is_closed(const std::vector<Ipv4Network>& closed, std::string_view address) {
  return std::ranges::any_of(closed, [&](auto& one) { return one.covers(network(address)); });
}

TEST(ClosedNetworks, AreReadAndWrittenAsPeopleDo) {
  EXPECT_EQ(network("192.168.7.0/24").text(), "192.168.7.0/24");
  EXPECT_EQ(network("192.168.7.9/24").text(), "192.168.7.0/24");
  EXPECT_EQ(network("192.168.7.9").text(), "192.168.7.9/32");
  EXPECT_EQ(network("0.0.0.0/0").text(), "0.0.0.0/0");
  for (const char* text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x",
                           "10.0.0", "10.0.0.0.0", "::1", "host", " 10.0.0.0/8", "10.0.0.0/8 "}) {
    EXPECT_FALSE(parse_network(text).ok()) << text;
  }
}

TEST(ClosedNetworks, OpenNeitherLoopbackNorTheWire) {
  for (const char* text : {"127.0.0.1", "127.0.0.0/8", "10.0.2.0/24", "10.0.2.2"}) {
    EXPECT_FALSE(check_allowed(*parse_network(text)).ok()) << text;
  }
  for (const char* text : {"10.0.0.0/8", "192.168.7.1", "169.254.169.254"}) {
    EXPECT_TRUE(check_allowed(*parse_network(text)).ok()) << text;
  }
}

TEST(ClosedNetworks, ArePrivateOnesMetadataAndTheMachineItself) {
  const auto closed = closed_networks({network("203.0.113.7")}, {});
  for (const char* address :
       {"0.0.0.1", "10.0.0.1", "10.255.255.255", "100.64.0.1", "169.254.169.254", "172.16.0.1",
        "172.31.255.255", "192.0.0.1", "192.168.1.1", "198.19.0.1", "224.0.0.1", "255.255.255.255",
        "203.0.113.7"}) {
    EXPECT_TRUE(is_closed(closed, address)) << address;
  }
  for (const char* address : {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.0.1", "100.128.0.1",
                              "172.15.0.1", "172.32.0.1", "192.167.0.1", "203.0.113.8"}) {
    EXPECT_FALSE(is_closed(closed, address)) << address;
  }
}

TEST(ClosedNetworks, LeaveOutWhatIsAllowedAndNothingElse) {
  const auto closed = closed_networks({}, {network("10.1.2.3"), network("192.168.0.0/15")});
  EXPECT_FALSE(is_closed(closed, "10.1.2.3"));
  EXPECT_FALSE(is_closed(closed, "192.168.7.1"));
  for (const char* address : {"10.1.2.2", "10.1.2.4", "10.0.0.0", "10.255.255.255", "172.16.0.1"}) {
    EXPECT_TRUE(is_closed(closed, address)) << address;
  }
  EXPECT_THAT(closed, Not(Contains(network("10.0.0.0/8"))));
  EXPECT_TRUE(closed_networks({}, {network("0.0.0.0/0")}).empty());
}

TEST(ClosedNetworks, OpenTheMachineItselfByItsOwnNameAlone) {
  const auto own = network("192.168.1.5");
  EXPECT_TRUE(is_closed(closed_networks({own}, {network("192.168.1.0/24")}), "192.168.1.5"));
  EXPECT_FALSE(is_closed(closed_networks({own}, {own}), "192.168.1.5"));
}

// As on a virtual machine whose own network has the same numbers.
TEST(ClosedNetworks, LeaveTheWireToTheWayOut) {
  EXPECT_THAT(closed_networks({network("10.0.2.2")}, {}), Not(Contains(network("10.0.2.2"))));
}

}  // namespace
}  // namespace ember
