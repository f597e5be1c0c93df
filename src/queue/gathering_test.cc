#include "queue/gathering.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

constexpr Time at(std::int64_t ms) { return Time::from_ms(1'000'000 + ms); }
constexpr Duration ms(std::int64_t n) { return Duration::milliseconds(n); }

constexpr Batching kBatching{32, ms(50)};

// One that has seen inputs `gap` apart, the last at 0, and batches that take `run`.
Gathering after(Duration gap, Duration run) {
  Gathering gathering;
  gathering.ran(run);
  for (int i = 100; i >= 0; --i) gathering.arrived(at(0) - gap * i, kBatching);
  gathering.begin(at(0));
  return gathering;
}

TEST(Gathering, WaitsAsLongAsItMayUntilABatchHasRun) {
  Gathering gathering;
  gathering.begin(at(0));
  gathering.arrived(at(0), kBatching);
  EXPECT_EQ(gathering.due_on_idle(kBatching, 1), at(50));
}

TEST(Gathering, IsOverAtOnceWhereInputsAreRare) {
  EXPECT_EQ(after(ms(1000), ms(20)).due_on_idle(kBatching, 1), at(0));
  EXPECT_EQ(after(ms(15), ms(20)).due_on_idle(kBatching, 1), at(0));  // more lose than gain
}

TEST(Gathering, WaitsWhileTheNextGainsMoreThanThoseHereLose) {
  const Gathering gathering = after(ms(2), ms(40));
  EXPECT_EQ(gathering.due_on_idle(kBatching, 1), at(20));  // a half of 40 ms, if none comes
  EXPECT_EQ(gathering.due_on_idle(kBatching, 9), at(4));
  EXPECT_EQ(gathering.due_on_idle(kBatching, 19), at(0));  // a twentieth is as long as the gap
}

TEST(Gathering, NeverWaitsLongerThanItMay) {
  const Gathering gathering = after(ms(2), ms(40));
  EXPECT_EQ(gathering.due_on_idle({32, ms(5)}, 1), at(5));
  EXPECT_EQ(gathering.due_on_idle({32, ms(2)}, 1), at(0));  // the next would come too late
  EXPECT_EQ(gathering.due_on_idle({32, ms(0)}, 1), at(0));
}

TEST(Gathering, IsInNoHurryWhereTheContainerIsBusyAnyway) {
  EXPECT_EQ(after(ms(1000), ms(20)).due(kBatching), at(50));
}

TEST(Gathering, TakesOnePauseForNoLastingOne) {
  Gathering gathering = after(ms(1), ms(40));
  gathering.arrived(at(3'600'000), kBatching);
  gathering.begin(at(3'600'000));
  EXPECT_GT(gathering.due_on_idle(kBatching, 1), at(3'600'000));
}

TEST(Gathering, LearnsAnewWithinSomeInputs) {
  Gathering gathering = after(ms(1), ms(40));
  for (int i = 1; i <= 10; ++i) {
    gathering.arrived(at(1000 * i), kBatching);
    gathering.begin(at(1000 * i));
  }
  EXPECT_EQ(gathering.due_on_idle(kBatching, 1), at(10'000));
}

}  // namespace
}  // namespace ember
