#include <gtest/gtest.h>

#include "queue/slot_rank.h"
#include "queue/waiting_queue.h"

namespace ember {
namespace {

class Waiting : public testing::Test {
 protected:
  Slot arrive() {
    const Slot slot = inputs_.add();
    inputs_[slot].order = ++order_;
    queue_.push(inputs_, slot);
    return slot;
  }
  Slot take() {
    const Slot slot = queue_.front();
    queue_.remove(inputs_, slot);
    return slot;
  }

  InputSlab inputs_;
  WaitingQueue queue_;
  std::uint64_t order_ = 0;
};

TEST_F(Waiting, ServesFirstComeFirst) {
  const Slot a = arrive(), b = arrive(), c = arrive();
  EXPECT_EQ(queue_.size(), 3u);
  EXPECT_EQ(take(), a);
  EXPECT_EQ(take(), b);
  EXPECT_EQ(take(), c);
  EXPECT_EQ(queue_.front(), kNoSlot);
}

TEST_F(Waiting, TakesAnyOneOutOfTheMiddle) {
  const Slot a = arrive(), b = arrive(), c = arrive();
  queue_.remove(inputs_, b);
  EXPECT_EQ(queue_.ahead_of(inputs_, c), 1u);
  EXPECT_EQ(take(), a);
  EXPECT_EQ(take(), c);
}

TEST_F(Waiting, GivesThoseWhoComeBackTheirOldPlaces) {
  const Slot a = arrive(), b = arrive(), c = arrive(), d = arrive();
  take(), take(), take();
  queue_.give_back(inputs_, c);
  queue_.give_back(inputs_, a);
  queue_.give_back(inputs_, b);
  EXPECT_EQ(queue_.ahead_of(inputs_, c), 2u);
  EXPECT_EQ(queue_.ahead_of(inputs_, d), 3u);
  queue_.remove(inputs_, b);
  EXPECT_EQ(take(), a);
  EXPECT_EQ(take(), c);
  EXPECT_EQ(take(), d);
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

}  // namespace
}  // namespace ember
