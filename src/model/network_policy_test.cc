#include "model/network_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ember {
namespace {

using testing::HasSubstr;

TEST(NetworkPolicy, TellsNetworksNamesAndNamesBelowOneApart) {
  const auto policy =
      listed_destinations({"203.0.113.7", "198.51.100.0/24", "Example.org", "*.example.net"});
  ASSERT_TRUE(policy.ok()) << policy.error().message;
  const Destinations all = destinations_of(*policy);
  ASSERT_EQ(all.networks.size(), 2u);
  EXPECT_EQ(all.networks[1].text(), "198.51.100.0/24");
  EXPECT_TRUE(all.has("example.org"));
  EXPECT_TRUE(all.has("CDN.EXAMPLE.net"));
  EXPECT_TRUE(all.has("a.b.example.net"));
  for (const char* other : {"example.net", "evilexample.net", ".example.net", "files.example.org",
                            "xexample.org", ""}) {
    EXPECT_FALSE(all.has(other)) << other;
  }
}

TEST(NetworkPolicy, RefusesWhatIsNoDestination) {
  for (const char* wrong : {"", "*", "*.", "a..b", ".a", "a.", "https://a.org", "a.org:443", "a b",
                            "1.2.3.4/33", "1.2.3.0.5", "::1", "300.1.1.1", "*.*.org"}) {
    EXPECT_FALSE(listed_destinations({wrong}).ok()) << wrong;
  }
  EXPECT_FALSE(listed_destinations({std::string("1.2.3.4\0\n*.a.org", 16)}).ok());
  EXPECT_FALSE(listed_destinations({std::string(300, 'a')}).ok());
  EXPECT_FALSE(listed_destinations({}).ok());
  EXPECT_FALSE(listed_destinations(std::vector<std::string>(65, "a.org")).ok());
  EXPECT_THAT(listed_destinations({"a b"}).error().message, HasSubstr("\"*.example.org\""));
}

}  // namespace
}  // namespace ember
