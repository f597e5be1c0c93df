#include "control/usual_start.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

TEST(UsualStart, IsNotKnownBeforeTheFirst) {
  UsualStart usual;
  EXPECT_EQ(usual.duration(), std::nullopt);
  usual.add(Duration::seconds(3));
  EXPECT_EQ(usual.duration()->us, Duration::seconds(3).us);
}

TEST(UsualStart, IsTheMedianSoThatOneOddStartChangesLittle) {
  UsualStart usual;
  for (const int seconds : {4, 5, 600}) usual.add(Duration::seconds(seconds));
  EXPECT_EQ(usual.duration()->us, Duration::seconds(5).us);
}

TEST(UsualStart, ForgetsHowItWasLongAgo) {
  UsualStart usual;
  for (int i = 0; i < 20; ++i) usual.add(Duration::seconds(60));
  for (int i = 0; i < 9; ++i) usual.add(Duration::seconds(2));
  EXPECT_EQ(usual.duration()->us, Duration::seconds(2).us);
}

TEST(StartsUnderWay, AreInTheOrderInWhichTheyBegan) {
  StartsUnderWay starts;
  EXPECT_EQ(starts.begun(0), std::nullopt);
  for (const int n : {1, 2, 3}) {
    starts.add(ContainerId{static_cast<std::uint64_t>(n)}, Time::from_ms(10 * n));
  }
  starts.remove(ContainerId{2});
  starts.remove(ContainerId{9});
  EXPECT_EQ(starts.begun(0)->us, Time::from_ms(10).us);
  EXPECT_EQ(starts.begun(1)->us, Time::from_ms(30).us);
  EXPECT_EQ(starts.begun(2), std::nullopt);
}

}  // namespace
}  // namespace ember
