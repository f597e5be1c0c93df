#include <gtest/gtest.h>

#include "scheduler/backlog.h"
#include "scheduler/filter.h"
#include "scheduler/fleet.h"
#include "scheduler/place.h"
#include "scheduler/refusals.h"

namespace ember {
namespace {

constexpr std::int64_t kGiB = 1ll << 30;

Device device(std::uint64_t id, std::string type) {
  return {DeviceId{id}, std::move(type), 0, true};
}

NodeCapacity capacity(std::vector<Device> devices) { return {16'000, 64 * kGiB, devices}; }

Resources wants(std::vector<GpuChoice> choices) {
  Resources resources;
  resources.cpu_millicores = 1000;
  resources.memory_bytes = kGiB;
  resources.gpu.choices = std::move(choices);
  return resources;
}

void take(Fleet& fleet, const Resources& resources, ContainerId container) {
  const auto placement = place(fleet, {resources}, {});
  ASSERT_TRUE(placement);
  fleet.reserve(placement->node, container,
                {resources.cpu_millicores, resources.memory_bytes, placement->devices});
}

TEST(Place, TakesTheNodeWithFewestDevicesLeftOverThenTheLowestId) {
  Fleet fleet;
  fleet.join(NodeId{1}, capacity({device(1, "L4"), device(2, "L4")}));
  fleet.join(NodeId{3}, capacity({device(4, "L4")}));
  fleet.join(NodeId{2}, capacity({device(3, "L4")}));
  const auto placement = place(fleet, {wants({{"L4", 1}})}, {});
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->node, NodeId{2});
  EXPECT_EQ(placement->devices, std::vector{DeviceId{3}});
  EXPECT_EQ(place(fleet, {wants({{"L4", 2}})}, {})->node, NodeId{1});
}

TEST(Place, KeepsNodesWithDevicesForThoseWhoNeedThem) {
  Fleet fleet;
  fleet.join(NodeId{1}, capacity({device(1, "H100")}));
  fleet.join(NodeId{2}, capacity({}));
  EXPECT_EQ(place(fleet, {wants({})}, {})->node, NodeId{2});
}

TEST(Place, GoesThroughTheChoicesInTheUsersOrder) {
  Fleet fleet;
  fleet.join(NodeId{1}, capacity({device(1, "L4"), device(2, "H100")}));
  const Resources either = wants({{"H100", 1}, {"L4", 1}});
  take(fleet, either, ContainerId{1});
  EXPECT_TRUE(fleet.find(NodeId{1})->is_held(DeviceId{2}));
  take(fleet, either, ContainerId{2});
  EXPECT_TRUE(fleet.find(NodeId{1})->is_held(DeviceId{1}));
  EXPECT_FALSE(place(fleet, {either}, {}));
}

TEST(Place, NeedsCpuMemoryAndDevicesOnOneNode) {
  Fleet fleet;
  fleet.join(NodeId{1}, {500, 64 * kGiB, {device(1, "L4")}});
  fleet.join(NodeId{2}, {16'000, kGiB / 2, {device(2, "L4")}});
  fleet.join(NodeId{3}, capacity({device(3, "T4")}));
  EXPECT_FALSE(place(fleet, {wants({{"L4", 1}})}, {}));
  EXPECT_FALSE(could_ever_place(fleet, wants({{"L4", 1}})));
  EXPECT_TRUE(could_ever_place(fleet, wants({{"L4", 1}, {"T4", 1}})));
  EXPECT_FALSE(could_ever_place(fleet, wants({{"T4", 2}})));
}

TEST(Place, LeavesDevicesAloneThatAreNotAvailable) {
  for (const DeviceState state : {DeviceState::in_use, DeviceState::mig, DeviceState::cordoned}) {
    Fleet fleet;
    Device first = device(1, "L4");
    first.state = state;
    fleet.join(NodeId{1}, capacity({first, device(2, "L4")}));
    EXPECT_EQ(place(fleet, {wants({{"L4", 1}})}, {})->devices, std::vector{DeviceId{2}});
    EXPECT_FALSE(place(fleet, {wants({{"L4", 2}})}, {}));
    EXPECT_EQ(could_ever_place(fleet, wants({{"L4", 2}})), state != DeviceState::mig);
    fleet.join(NodeId{1}, capacity({device(1, "L4"), device(2, "L4")}));
    EXPECT_TRUE(place(fleet, {wants({{"L4", 2}})}, {}));
  }
}

TEST(Place, LeavesOutTheNodesItIsToldToAvoid) {
  Fleet fleet;
  fleet.join(NodeId{1}, capacity({}));
  fleet.join(NodeId{2}, capacity({}));
  const std::vector avoid{NodeId{1}};
  EXPECT_EQ(place(fleet, {wants({})}, avoid)->node, NodeId{2});
  const std::vector all{NodeId{1}, NodeId{2}};
  EXPECT_FALSE(place(fleet, {wants({})}, all));
}

TEST(Fleet, GivesBackWhatWasReservedAndCouldEverPlaceLooksAtEmptyNodes) {
  Fleet fleet;
  fleet.join(NodeId{1}, capacity({device(1, "L4")}));
  const Resources one = wants({{"L4", 1}});
  take(fleet, one, ContainerId{1});
  EXPECT_EQ(fleet.find(NodeId{1})->cpu_millicores_free, 15'000);
  EXPECT_FALSE(place(fleet, {one}, {}));
  EXPECT_TRUE(could_ever_place(fleet, one));
  fleet.release(NodeId{1}, ContainerId{1});
  fleet.release(NodeId{1}, ContainerId{1});  // told twice
  EXPECT_EQ(fleet.find(NodeId{1})->cpu_millicores_free, 16'000);
  EXPECT_TRUE(place(fleet, {one}, {}));
}

TEST(Fleet, KeepsReservationsWhenANodeTellsItsCapacityAgain) {
  Fleet fleet;
  fleet.join(NodeId{1}, capacity({device(1, "L4"), device(2, "L4")}));
  take(fleet, wants({{"L4", 1}}), ContainerId{1});
  fleet.join(NodeId{1}, {500, kGiB, {device(2, "L4")}});  // shrank under its container
  EXPECT_EQ(fleet.find(NodeId{1})->cpu_millicores_free, -500);
  EXPECT_TRUE(fleet.find(NodeId{1})->is_held(DeviceId{1}));
  EXPECT_FALSE(place(fleet, {wants({{"L4", 1}})}, {}));
  fleet.join(NodeId{1}, capacity({device(1, "L4"), device(2, "L4")}));
  EXPECT_EQ(place(fleet, {wants({{"L4", 1}})}, {})->devices, std::vector{DeviceId{2}});
}

TEST(Refusals, LeaveANodeAloneLongerEachTimeUntilItAccepts) {
  Refusals refusals;
  const Time now = Time::from_ms(1000);
  const auto refuse = [&](std::uint64_t node) {
    refusals.refused(NodeId{node}, now, Duration::seconds(1), Duration::seconds(4));
  };
  refuse(2);
  refuse(1);
  EXPECT_EQ(refusals.avoid(now), (std::vector{NodeId{1}, NodeId{2}}));
  EXPECT_EQ(refusals.next_retry(now), now + Duration::seconds(1));
  refuse(1);
  refuse(1);
  refuse(1);
  EXPECT_EQ(refusals.most_in_a_row(), 4u);
  EXPECT_EQ(refusals.avoid(now + Duration::seconds(1)), std::vector{NodeId{1}});
  EXPECT_TRUE(refusals.avoid(now + Duration::seconds(4)).empty());
  refusals.accepted(NodeId{1});
  EXPECT_EQ(refusals.avoid(now), std::vector{NodeId{2}});
}

TEST(Backlog, GivesTheOldestWantWhoseShapeIsNotKnownToBeFull) {
  Backlog backlog;
  const Resources l4 = wants({{"L4", 1}}), h100 = wants({{"H100", 1}});
  const auto first = backlog.add(Backlog::shape_of(l4), 7);
  backlog.add(Backlog::shape_of(h100), 8);
  backlog.add(Backlog::shape_of(l4), 9);
  EXPECT_EQ(backlog.oldest({}).pool, 7u);
  EXPECT_EQ(backlog.oldest({Backlog::shape_of(l4)}).pool, 8u);
  backlog.remove(Backlog::shape_of(l4), first, 7);
  EXPECT_EQ(backlog.oldest({Backlog::shape_of(h100)}).pool, 9u);
  EXPECT_EQ(backlog.oldest({Backlog::shape_of(h100), Backlog::shape_of(l4)}).pool, kNoSlot);
}

}  // namespace
}  // namespace ember
