#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/random.h"
#include "queue/admission.h"
#include "queue/pace.h"
#include "queue/priority_queue.h"
#include "queue/retry_delay.h"
#include "queue/slot_rank.h"
#include "queue/waiting_queue.h"

namespace ember {
namespace {

class Waiting : public testing::Test {
 protected:
  static constexpr KeyId kAda{1}, kBob{2}, kCy{3};

  Slot arrive(KeyId caller = kAda) {
    const Slot slot = inputs_.add();
    inputs_[slot].order = ++order_;
    inputs_[slot].caller = caller;
    queue_.push(inputs_, lines_, slot);
    return slot;
  }
  Slot take() { return queue_.take(inputs_, lines_); }
  void remove(Slot slot) { queue_.remove(inputs_, lines_, slot); }
  void give_back(Slot slot) { queue_.give_back(inputs_, lines_, slot); }
  std::uint32_t ahead_of(Slot slot) const { return queue_.ahead_of(inputs_, lines_, slot); }
  // Who is served, to the last one.
  std::vector<Slot> take_all() {
    std::vector<Slot> taken;
    while (!queue_.empty()) taken.push_back(take());
    return taken;
  }

  InputSlab inputs_;
  CallerLines lines_;
  WaitingQueue queue_;
  std::uint64_t order_ = 0;
};

TEST_F(Waiting, ServesOneCallersOwnFirstComeFirst) {
  const Slot a = arrive(), b = arrive(), c = arrive();
  EXPECT_EQ(queue_.size(), 3u);
  EXPECT_EQ(take_all(), (std::vector{a, b, c}));
  EXPECT_EQ(lines_.size(), 0u);
}

TEST_F(Waiting, TakesAnyOneOutOfTheMiddle) {
  const Slot a = arrive(), b = arrive(), c = arrive();
  remove(b);
  EXPECT_EQ(ahead_of(c), 1u);
  EXPECT_EQ(take_all(), (std::vector{a, c}));
}

TEST_F(Waiting, GivesThoseWhoComeBackTheirOldPlaces) {
  const Slot a = arrive(), b = arrive(), c = arrive(), d = arrive();
  take(), take(), take();
  give_back(c);
  give_back(a);
  give_back(b);
  EXPECT_EQ(ahead_of(c), 2u);
  EXPECT_EQ(ahead_of(d), 3u);
  remove(b);
  EXPECT_EQ(take_all(), (std::vector{a, c, d}));
}

TEST_F(Waiting, LetsCallersTakeTurnsHoweverManyOneHasWaiting) {
  const Slot a = arrive(kAda), b = arrive(kAda), c = arrive(kAda), d = arrive(kAda);
  const Slot e = arrive(kBob), f = arrive(kCy), g = arrive(kBob);
  EXPECT_EQ(queue_.callers(), 3u);
  EXPECT_EQ(queue_.size_of(lines_, kAda), 4u);
  EXPECT_EQ(take_all(), (std::vector{a, e, f, b, g, c, d}));
  EXPECT_EQ(queue_.callers(), 0u);
}

TEST_F(Waiting, PutsWhoBeginsToWaitBehindAllThatWait) {
  const Slot a = arrive(kAda), b = arrive(kAda), c = arrive(kBob);
  EXPECT_EQ(take(), a);
  const Slot d = arrive(kCy);
  EXPECT_EQ(take_all(), (std::vector{c, b, d}));
}

TEST_F(Waiting, GainsNobodyATurnByLeavingAndComingAgain) {
  const Slot a = arrive(kAda), b = arrive(kBob);
  remove(a);
  const Slot c = arrive(kAda);
  EXPECT_EQ(take_all(), (std::vector{b, c}));
}

TEST_F(Waiting, PutsWhatCameBackFirstAmongItsOwnAndTakesNobodysTurn) {
  const Slot a = arrive(kAda), b = arrive(kAda), c = arrive(kBob), d = arrive(kBob);
  EXPECT_EQ(take(), a);
  give_back(a);
  EXPECT_EQ(take_all(), (std::vector{c, a, d, b}));
}

TEST_F(Waiting, CountsAsOneCallerAllThatHaveNoKey) {
  const Slot a = arrive(KeyId{}), b = arrive(KeyId{}), c = arrive(kAda);
  EXPECT_EQ(queue_.size_of(lines_, KeyId{}), 2u);
  EXPECT_EQ(take_all(), (std::vector{a, c, b}));
}

// Whatever waits, what it is told of those before it is what then happens.
TEST_F(Waiting, TellsHowManyStandBefore) {
  Random random(11);
  std::vector<Slot> all;
  for (int i = 0; i < 60; ++i) all.push_back(arrive(KeyId{random.below(5)}));
  for (int i = 0; i < 20; ++i) {
    const Slot slot = take();
    random.chance(500) ? give_back(slot) : static_cast<void>(std::erase(all, slot));
  }
  std::map<Slot, std::uint32_t> told;
  for (const Slot slot : all) told[slot] = ahead_of(slot);
  std::uint32_t before = 0;
  for (const Slot slot : take_all()) EXPECT_EQ(told[slot], before++);
  EXPECT_EQ(before, all.size());
}

class ByPriority : public testing::Test {
 protected:
  static constexpr KeyId kAda{1}, kBob{2};

  Slot arrive(int priority, KeyId caller = kAda) {
    const Slot slot = inputs_.add();
    inputs_[slot].order = ++order_;
    inputs_[slot].caller = caller;
    inputs_[slot].priority = {static_cast<std::int8_t>(priority)};
    queue_.push(inputs_, lines_, slot);
    return slot;
  }
  Slot take() { return queue_.take(inputs_, lines_); }
  std::vector<Slot> take_all() {
    std::vector<Slot> taken;
    while (!queue_.empty()) taken.push_back(take());
    return taken;
  }

  InputSlab inputs_;
  CallerLines lines_;
  PriorityQueue queue_;
  std::uint64_t order_ = 0;
};

TEST_F(ByPriority, GoTheHighestFirstAndThoseOfOnePriorityAsTheyCame) {
  const Slot a = arrive(0), b = arrive(-3), c = arrive(7), d = arrive(0), e = arrive(7);
  EXPECT_EQ(queue_.size(), 5u);
  EXPECT_EQ(take_all(), (std::vector{c, e, a, d, b}));
  EXPECT_EQ(lines_.size(), 0u);
  EXPECT_TRUE(queue_.others().empty());
}

TEST_F(ByPriority, LetsCallersTakeTurnsAmongThoseOfOnePriority) {
  const Slot a = arrive(0, kAda), b = arrive(0, kAda), c = arrive(0, kBob);
  const Slot d = arrive(1, kBob), e = arrive(1, kBob), f = arrive(1, kAda);
  EXPECT_EQ(take_all(), (std::vector{d, f, e, a, c, b}));
}

TEST_F(ByPriority, CountsACallerOnceWhateverItsPriorities) {
  arrive(0, kAda), arrive(5, kAda), arrive(-5, kAda);
  const Slot bobs = arrive(5, kBob);
  EXPECT_EQ(queue_.callers(), 2u);
  EXPECT_EQ(queue_.size_of(kAda), 3u);
  queue_.remove(inputs_, lines_, bobs);
  EXPECT_EQ(queue_.callers(), 1u);
  EXPECT_EQ(queue_.size_of(kBob), 0u);
  EXPECT_EQ(queue_.find_line(kBob), kNoSlot);
  EXPECT_NE(queue_.find_line(kAda), kNoSlot);
}

TEST_F(ByPriority, GivesWhatComesBackItsPlaceAmongItsOwn) {
  const Slot a = arrive(2), b = arrive(0), c = arrive(2);
  EXPECT_EQ(take(), a);
  EXPECT_EQ(take(), c);
  queue_.give_back(inputs_, lines_, c);
  queue_.give_back(inputs_, lines_, a);
  EXPECT_EQ(take_all(), (std::vector{a, c, b}));
}

TEST_F(ByPriority, TellsHowManyStandBefore) {
  Random random(12);
  std::vector<Slot> all;
  for (int i = 0; i < 80; ++i) {
    all.push_back(arrive(static_cast<int>(random.between(-2, 2)), KeyId{random.below(4)}));
  }
  std::map<Slot, std::uint32_t> told;
  for (const Slot slot : all) told[slot] = queue_.ahead_of(inputs_, lines_, slot);
  std::uint32_t before = 0;
  for (const Slot slot : take_all()) EXPECT_EQ(told[slot], before++);
}

TEST(Admission, LetsOneCallerHaveTheWholeLimitAndNoMore) {
  EXPECT_TRUE(admits({.limit = 10, .waiting = 9, .own = 9, .callers = 1}));
  EXPECT_FALSE(admits({.limit = 10, .waiting = 10, .own = 10, .callers = 1}));
}

TEST(Admission, LetsNobodyBeLockedOutByWhoFilledTheQueue) {
  EXPECT_TRUE(admits({.limit = 10, .waiting = 10, .own = 0, .callers = 1}));
  EXPECT_TRUE(admits({.limit = 10, .waiting = 14, .own = 4, .callers = 2}));
  EXPECT_FALSE(admits({.limit = 10, .waiting = 15, .own = 5, .callers = 2}));
  EXPECT_FALSE(admits({.limit = 2, .waiting = 2, .own = 0, .callers = 2}));
}

TEST(Pace, TellsHowLongSoManyTakeAtThePaceOfTheLast) {
  Pace pace;
  EXPECT_EQ(pace.time_for(5), std::nullopt);
  for (int i = 1; i <= 50; ++i) {
    const Time now = Time::from_ms(100 * i);
    pace.ended(now - Duration::seconds(1), now);  // ten at a time, a second each
  }
  EXPECT_EQ(pace.time_for(5), Duration::milliseconds(500));
}

TEST(Pace, IsNotSlowedByHavingHadNothingToDo) {
  Pace pace;
  pace.ended(Time::from_ms(0), Time::from_ms(10));
  pace.ended(Time::from_ms(3'600'000), Time::from_ms(3'600'010));
  EXPECT_EQ(pace.time_for(1), Duration::milliseconds(10));
}

TEST(SlotRank, PacksBelowTheTargetThenSpreadsThenGoesById) {
  const auto rank = [](std::uint32_t inputs, std::uint64_t id) {
    return slot_rank({inputs, 4}, ContainerId{id});
  };
  EXPECT_LT(rank(3, 9), rank(2, 1));  // the most loaded below the target
  EXPECT_LT(rank(0, 9), rank(4, 1));  // an idle one before one at its target
  EXPECT_LT(rank(4, 9), rank(5, 1));  // over the target the least loaded
  EXPECT_LT(rank(2, 1), rank(2, 2));
}

TEST(RetryDelay, GrowsByItsCoefficientUpToItsMost) {
  const Retries retries{.max_retries = 9,
                        .initial_delay = Duration::seconds(1),
                        .backoff_permille = 1500,
                        .max_delay = Duration::seconds(3)};
  EXPECT_EQ(retry_delay(retries, 0), Duration::milliseconds(1000));
  EXPECT_EQ(retry_delay(retries, 1), Duration::milliseconds(1500));
  EXPECT_EQ(retry_delay(retries, 2), Duration::milliseconds(2250));
  EXPECT_EQ(retry_delay(retries, 3), Duration::seconds(3));
  EXPECT_EQ(retry_delay(retries, 1'000'000'000), Duration::seconds(3));
}

TEST(RetryDelay, IsNeverNothing) {
  EXPECT_EQ(retry_delay({.initial_delay = {}}, 0), kShortestRetryDelay);
}

}  // namespace
}  // namespace ember
