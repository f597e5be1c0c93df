#include "gateway/open_rates.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

constexpr OpenRate kTwoASecond{2, 3};  // six at once

class OpenRatesTest : public testing::Test {
 protected:
  int let_in(int tries, const std::string& source = "192.0.2.1", const char* label = "site") {
    int count = 0;
    for (int i = 0; i < tries; ++i) count += !rates_.refusal(label, source, now_);
    return count;
  }

  OpenRates rates_{kTwoASecond};
  Time now_ = Time::from_ms(1'000'000);
};

TEST_F(OpenRatesTest, LetABurstInAndThenTheRate) {
  EXPECT_EQ(let_in(100), 6);
  now_ = now_ + Duration::seconds(1);
  EXPECT_EQ(let_in(100), 2);
  now_ = now_ + Duration::seconds(60);
  EXPECT_EQ(let_in(100), 6) << "what is not used is not kept beyond the burst";
}

TEST_F(OpenRatesTest, SayWhenTheNextOneIsLetIn) {
  let_in(6);
  const auto wait = rates_.refusal("site", "192.0.2.1", now_);
  ASSERT_TRUE(wait);
  EXPECT_EQ(*wait, Duration::milliseconds(500));
  now_ = now_ + *wait;
  EXPECT_EQ(let_in(2), 1) << "and those that were refused counted for nothing";
}

TEST_F(OpenRatesTest, CountEachAddressAndEachEndpointByItself) {
  EXPECT_EQ(let_in(10), 6);
  EXPECT_EQ(let_in(10, "192.0.2.2"), 6);
  EXPECT_EQ(let_in(10, "192.0.2.1", "shop"), 6);
}

TEST_F(OpenRatesTest, LetAnyNumberInWithoutARate) {
  OpenRates none{OpenRate{}};
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(none.refusal("site", "192.0.2.1", now_));
  EXPECT_EQ(none.pairs(), 0u);
}

TEST_F(OpenRatesTest, ForgetThoseThatAskedLongestAgo) {
  for (int i = 0; i < 20'000; ++i) {
    let_in(1, "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250));
    let_in(1);
  }
  EXPECT_EQ(rates_.pairs(), 10'000u);
  EXPECT_EQ(let_in(1), 0) << "one that asks all the time is not forgotten";
}

TEST_F(OpenRatesTest, AreNotStoppedByAClockThatIsSetBack) {
  let_in(6);
  now_ = now_ - Duration::seconds(3600);
  EXPECT_TRUE(rates_.refusal("site", "192.0.2.1", now_));
  now_ = now_ + Duration::seconds(3);
  EXPECT_EQ(let_in(10), 6);
}

TEST(RatedSource, OfAnAddressOfIpv6IsItsNetwork) {
  EXPECT_EQ(rated_source("2001:db8:1:2::3"), rated_source("2001:db8:1:2:ffff::1"));
  EXPECT_NE(rated_source("2001:db8:1:2::3"), rated_source("2001:db8:1:3::3"));
  EXPECT_EQ(rated_source("192.0.2.1"), "192.0.2.1");
}

TEST(RatedSource, OfWhatIsNoAddressIsAlwaysTheSame) {
  EXPECT_EQ(rated_source(""), "unknown");
  EXPECT_EQ(rated_source(std::string(60'000, 'x')), "unknown");
}

}  // namespace
}  // namespace ember
