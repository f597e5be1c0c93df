#include <gtest/gtest.h>

#include "autoscaler/backoff.h"
#include "autoscaler/desired.h"

namespace ember {
namespace {

struct Wanted {
  std::uint32_t containers;
  DesiredBy by;
  friend bool operator==(const Wanted&, const Wanted&) = default;
};

Wanted serving(const Scaling& scaling, const PoolLoad& load) {
  const Desired desired = desired_containers(scaling, PoolMode::serving, load);
  return {desired.containers, desired.by};
}

TEST(Desired, IsNothingWithoutLoadAndFloor) {
  EXPECT_EQ(serving({}, {}), (Wanted{0, DesiredBy::demand}));
}

TEST(Desired, IsTheLoadOverTheTargetRoundedUp) {
  Scaling scaling;
  scaling.max_inputs = 8;
  scaling.target_inputs = 4;
  EXPECT_EQ(serving(scaling, {.in_flight = 3, .waiting = 1}), (Wanted{1, DesiredBy::demand}));
  EXPECT_EQ(serving(scaling, {.in_flight = 4, .waiting = 1}), (Wanted{2, DesiredBy::demand}));
}

TEST(Desired, KeepsTheFloorWithoutLoadAndTheBufferOnlyUnderLoad) {
  Scaling scaling;
  scaling.min_containers = 2;
  scaling.buffer_containers = 3;
  EXPECT_EQ(serving(scaling, {}), (Wanted{2, DesiredBy::min_containers}));
  EXPECT_EQ(serving(scaling, {.in_flight = 1}), (Wanted{4, DesiredBy::buffer_containers}));
}

TEST(Desired, IsHeldByTheMaximum) {
  Scaling scaling;
  scaling.max_containers = 5;
  scaling.buffer_containers = 2;
  EXPECT_EQ(serving(scaling, {.waiting = 4}), (Wanted{5, DesiredBy::max_containers}));
  EXPECT_EQ(desired_containers(scaling, PoolMode::serving, {.waiting = 4}).demand, 4u);
  EXPECT_EQ(serving(scaling, {.waiting = 1'000'000}), (Wanted{5, DesiredBy::max_containers}));
}

TEST(Desired, OfAnEndingPoolIsWhatItStillHasToDo) {
  Scaling scaling;
  scaling.min_containers = 2;
  scaling.buffer_containers = 2;
  scaling.max_inputs = 4;
  const auto ending = [&](const PoolLoad& load) {
    return desired_containers(scaling, PoolMode::ending, load).containers;
  };
  EXPECT_EQ(ending({}), 0u);
  EXPECT_EQ(ending({.in_flight = 4, .waiting = 0, .busy = 1}), 1u);  // no help for what runs
  EXPECT_EQ(ending({.in_flight = 4, .waiting = 1, .busy = 1}), 5u);
}

TEST(Backoff, DoublesFromTheFirstWaitToItsLimitAndASuccessForgets) {
  Backoff backoff;
  const Duration first = Duration::milliseconds(500);
  const Time now = Time::from_ms(10'000);
  for (const std::int64_t ms : {500, 1000, 2000, 4000, 8000, 16000, 30000, 30000}) {
    backoff.fail(now, first);
    EXPECT_EQ(backoff.until(), now + Duration::milliseconds(ms));
  }
  EXPECT_EQ(backoff.failures(), 8u);
  EXPECT_TRUE(backoff.holds(now));
  EXPECT_FALSE(backoff.holds(backoff.until()));
  backoff.succeed();
  EXPECT_FALSE(backoff.holds(now));
  EXPECT_EQ(backoff.failures(), 0u);
}

}  // namespace
}  // namespace ember
