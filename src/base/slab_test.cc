#include "base/slab.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/id_index.h"
#include "base/random.h"

namespace ember {
namespace {

struct ThingTag {
  static constexpr std::string_view kPrefix = "th";
};
using ThingId = Id<ThingTag>;

struct Thing {
  int value = 0;
  Links links;
  std::uint32_t position = kNoSlot;
};
using Things = Slab<Thing>;
using List = SlotList<Thing, &Thing::links>;
using Heap = SlotHeap<std::uint64_t, Thing, &Thing::position>;

TEST(Slab, KeepsReferencesWhileItGrowsAndGivesFreshRecordsForUsedSlots) {
  Things things;
  const Slot first = things.add();
  Thing& record = things[first];
  record.value = 7;
  for (int i = 0; i < 1000; ++i) things.add();
  EXPECT_EQ(&things[first], &record);
  things.remove(first);
  EXPECT_EQ(things.size(), 1000u);
  EXPECT_EQ(things.add(), first);
  EXPECT_EQ(things[first].value, 0);
}

std::vector<Slot> contents(const List& list, const Things& things) {
  std::vector<Slot> slots;
  for (Slot slot = list.front(); slot != kNoSlot; slot = List::next(things, slot)) {
    slots.push_back(slot);
  }
  return slots;
}

TEST(SlotList, RemovesFromTheFrontTheMiddleAndTheBack) {
  Things things;
  List list;
  for (int i = 0; i < 5; ++i) list.push_back(things, things.add());
  list.remove(things, 2);
  list.remove(things, 0);
  list.remove(things, 4);
  EXPECT_EQ(contents(list, things), (std::vector<Slot>{1, 3}));
  EXPECT_EQ(list.back(), 3u);
  EXPECT_EQ(list.size(), 2u);
  list.remove(things, 1);
  list.remove(things, 3);
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.front(), kNoSlot);
}

TEST(SlotHeap, AgreesWithASortedMapUnderRandomChanges) {
  Random random(3);
  Things things;
  Heap heap;
  std::map<std::uint64_t, Slot> expected;
  std::map<Slot, std::uint64_t> keys;
  for (int i = 0; i < 64; ++i) things.add();
  for (int step = 0; step < 20'000; ++step) {
    const Slot slot = static_cast<Slot>(random.below(64));
    if (keys.contains(slot)) expected.erase(keys[slot]);
    if (random.chance(300)) {
      heap.remove(things, slot);
      keys.erase(slot);
    } else {
      const std::uint64_t key = random.below(1000) * 64 + slot;
      heap.put(things, slot, key);
      keys[slot] = key;
      expected[key] = slot;
    }
    ASSERT_EQ(heap.size(), expected.size());
    if (expected.empty()) continue;
    ASSERT_EQ(heap.top().key, expected.begin()->first);
    ASSERT_EQ(heap.top().slot, expected.begin()->second);
    ASSERT_EQ(*heap.key(things[heap.top().slot]), heap.top().key);
  }
}

TEST(IdIndex, AgreesWithAMapUnderRandomChanges) {
  Random random(5);
  IdIndex<ThingId> index;
  std::map<std::uint64_t, Slot> expected;
  for (int step = 0; step < 50'000; ++step) {
    // Few distinct ids, some of which collide, so that chains form and break.
    const ThingId id{(random.below(300) + 1) << (32 * random.below(2))};
    const auto at = expected.find(id.value);
    ASSERT_EQ(index.find(id), at == expected.end() ? kNoSlot : at->second);
    if (at != expected.end()) {
      index.erase(id);
      expected.erase(at);
    } else if (random.chance(600)) {
      index.insert(id, static_cast<Slot>(step));
      expected[id.value] = static_cast<Slot>(step);
    }
    ASSERT_EQ(index.size(), expected.size());
  }
  EXPECT_EQ(index.find(ThingId{}), kNoSlot);
}

}  // namespace
}  // namespace ember
