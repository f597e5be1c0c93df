// Which addresses a stranger's name may lead to: every entry of the list of ways in is one here.
#include "model/ip_address.h"

#include <gtest/gtest.h>

#include <string>

namespace ember {
namespace {

std::string_view range_of(const char* text) {
  const auto address = parse_ip_address(text);
  EXPECT_TRUE(address) << text;
  return address ? closed_range_of(*address) : "";
}

TEST(IpAddress, IsReadInItsOneWay) {
  for (const char* text : {"1.2.3.4", "::1", "2606:4700::6810:84e5", "::ffff:1.2.3.4"}) {
    EXPECT_TRUE(parse_ip_address(text)) << text;
  }
  for (const char* text : {"", "0", "127.1", "0177.0.0.1", "0x7f.0.0.1", "2130706433", "1.2.3.4.5",
                           "fe80::1%eth0", "[::1]", "1.2.3.256", " 1.2.3.4", "1.2.3.4 "}) {
    EXPECT_FALSE(parse_ip_address(text)) << text;
  }
  EXPECT_FALSE(parse_ip_address(std::string_view("127.0.0.1\0.org", 14)));
}

TEST(IpAddress, OfThePublicInternetIsOpen) {
  for (const char* text : {"1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.0",
                           "100.63.255.255", "100.128.0.0", "198.17.255.255", "198.20.0.0",
                           "223.255.255.255", "2606:4700::6810:84e5", "2a00:1450:4001:81b::200e"}) {
    EXPECT_EQ(range_of(text), "") << text;
  }
}

TEST(IpAddress, ThatIsNoPublicMachinesIsClosed) {
  const std::pair<const char*, const char*> ranges[] = {
      {"0.0.0.0", "an address of no machine"},
      {"0.255.255.255", "an address of no machine"},
      {"10.0.0.0", "a private address"},
      {"10.255.255.255", "a private address"},
      {"100.64.0.0", "an address behind a carrier's translation"},
      {"100.100.100.200", "an address behind a carrier's translation"},  // a cloud's metadata
      {"100.127.255.255", "an address behind a carrier's translation"},
      {"127.0.0.1", "a loopback address"},
      {"127.255.255.254", "a loopback address"},
      {"168.63.129.16", "a cloud's metadata address"},
      {"169.254.0.1", "a link-local address"},
      {"169.254.169.254", "a link-local address"},  // most clouds' metadata
      {"169.254.170.2", "a link-local address"},
      {"172.16.0.0", "a private address"},
      {"172.31.255.255", "a private address"},
      {"192.0.0.192", "a reserved address"},  // a cloud's metadata
      {"192.0.2.1", "a reserved address"},
      {"192.88.99.1", "a reserved address"},
      {"192.168.0.1", "a private address"},
      {"198.18.0.0", "a reserved address"},
      {"198.19.255.255", "a reserved address"},
      {"198.51.100.7", "a reserved address"},
      {"203.0.113.7", "a reserved address"},
      {"224.0.0.1", "a multicast address"},
      {"239.255.255.255", "a multicast address"},
      {"240.0.0.1", "a reserved address"},
      {"255.255.255.255", "a reserved address"},
      {"::", "a reserved address"},
      {"::1", "a loopback address"},
      {"::7f00:1", "a reserved address"},  // IPv4-compatible
      {"::ffff:127.0.0.1", "an address that stands for an IPv4 one"},
      {"::ffff:8.8.8.8", "an address that stands for an IPv4 one"},
      {"64:ff9b::7f00:1", "an address that stands for an IPv4 one"},
      {"64:ff9b:1::a9fe:a9fe", "an address that stands for an IPv4 one"},
      {"100::1", "a reserved address"},
      {"2001::1", "a reserved address"},  // Teredo
      {"2001:10::1", "a reserved address"},
      {"2001:db8::1", "a reserved address"},
      {"2002:7f00:1::", "an address that stands for an IPv4 one"},
      {"3fff::1", "a reserved address"},
      {"fc00::1", "a private address"},
      {"fd00:ec2::254", "a private address"},  // a cloud's metadata
      {"fe80::1", "a link-local address"},
      {"fec0::1", "a reserved address"},
      {"ff02::1", "a multicast address"},
  };
  for (const auto& [text, range] : ranges) EXPECT_EQ(range_of(text), range) << text;
}

TEST(IpAddress, IsOpenWhereItsNetworkIsAllowed) {
  const std::vector<IpNetwork> allowed{*parse_ip_network("127.0.0.0/9"),
                                       *parse_ip_network("fd00::/8")};
  const auto is_open = [&](const char* text) {
    return closed_range_of(*parse_ip_address(text), allowed).empty();
  };
  EXPECT_TRUE(is_open("127.0.0.1"));
  EXPECT_TRUE(is_open("127.127.255.255"));
  EXPECT_FALSE(is_open("127.128.0.0"));
  EXPECT_TRUE(is_open("fd12::1"));
  EXPECT_FALSE(is_open("fc00::1"));
  EXPECT_FALSE(is_open("::ffff:127.0.0.1"));
  EXPECT_TRUE(is_open("1.1.1.1"));
}

TEST(IpNetwork, IsReadWithOrWithoutAPrefix) {
  EXPECT_TRUE(parse_ip_network("10.1.2.3")->has(*parse_ip_address("10.1.2.3")));
  EXPECT_FALSE(parse_ip_network("10.1.2.3")->has(*parse_ip_address("10.1.2.2")));
  EXPECT_TRUE(parse_ip_network("0.0.0.0/0")->has(*parse_ip_address("200.1.2.2")));
  EXPECT_FALSE(parse_ip_network("0.0.0.0/0")->has(*parse_ip_address("::1")));
  for (const char* text :
       {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "fd00::/129", "ten"}) {
    EXPECT_FALSE(parse_ip_network(text)) << text;
  }
}

}  // namespace
}  // namespace ember
