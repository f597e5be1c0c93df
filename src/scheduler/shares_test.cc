#include <gtest/gtest.h>

#include "scheduler/filter.h"
#include "scheduler/fleet.h"
#include "scheduler/place.h"

namespace ember {
namespace {

constexpr std::int64_t kGB = 1'000'000'000;
constexpr WorkspaceId kOther{2};

Device device(std::uint64_t id, std::string type, std::int64_t vram_bytes) {
  return {DeviceId{id}, std::move(type), vram_bytes, true};
}

Resources share(std::int64_t bytes, std::vector<GpuChoice> choices = {{"L4", 1}}) {
  Resources resources;
  resources.gpu = {std::move(choices), bytes};
  return resources;
}

Resources whole(const char* type) {
  Resources resources;
  resources.gpu.choices = {{type, 1}};
  return resources;
}

class Shares : public testing::Test {
 protected:
  std::optional<DeviceId> take(const Resources& resources, std::uint64_t container,
                               WorkspaceId workspace = kDefaultWorkspace) {
    const auto placement = place(fleet_, {resources, workspace}, {});
    if (!placement) return std::nullopt;
    fleet_.reserve(placement->node, ContainerId{container},
                   {0, 0, placement->devices, resources.gpu.share_bytes, workspace});
    return placement->devices.front();
  }

  Fleet fleet_;
};

TEST_F(Shares, LieBesideOneAnotherAsFarAsTheDevicesMemoryGoes) {
  fleet_.join(NodeId{1}, {8000, 8 * kGB, {device(1, "L4", 24 * kGB)}});
  for (std::uint64_t container = 1; container <= 4; ++container) {
    EXPECT_EQ(take(share(6 * kGB), container), DeviceId{1});
  }
  EXPECT_FALSE(take(share(1), 5));
  fleet_.release(NodeId{1}, ContainerId{2});
  EXPECT_FALSE(take(share(6 * kGB + 1), 5));
  EXPECT_TRUE(take(share(6 * kGB), 5));
}

TEST_F(Shares, FillTheFullestDeviceThatHasRoomBeforeTheyOpenAnother) {
  fleet_.join(NodeId{1}, {8000, 8 * kGB, {device(1, "L4", 24 * kGB), device(2, "L4", 24 * kGB)}});
  fleet_.join(NodeId{2}, {8000, 8 * kGB, {device(3, "L4", 20 * kGB)}});
  EXPECT_EQ(take(share(20 * kGB), 1), DeviceId{3});  // the least is left over there
  EXPECT_EQ(take(share(10 * kGB), 2), DeviceId{1});
  EXPECT_EQ(take(share(20 * kGB), 3), DeviceId{2});
  EXPECT_EQ(take(share(4 * kGB), 4), DeviceId{2});  // 4 GB are left there and 14 on the first
  EXPECT_EQ(take(share(4 * kGB), 5), DeviceId{1});
}

TEST_F(Shares, AndWholeDevicesExcludeOneAnother) {
  fleet_.join(NodeId{1}, {8000, 8 * kGB, {device(1, "L4", 24 * kGB)}});
  take(share(kGB), 1);
  EXPECT_FALSE(take(whole("L4"), 2));
  fleet_.release(NodeId{1}, ContainerId{1});
  EXPECT_TRUE(take(whole("L4"), 2));
  EXPECT_FALSE(take(share(kGB), 3));
}

TEST_F(Shares, OfOneDeviceBelongToOneWorkspace) {
  fleet_.join(NodeId{1}, {8000, 8 * kGB, {device(1, "L4", 24 * kGB)}});
  take(share(kGB), 1);
  EXPECT_FALSE(take(share(kGB), 2, kOther));
  fleet_.release(NodeId{1}, ContainerId{1});
  EXPECT_TRUE(take(share(kGB), 2, kOther));
  EXPECT_FALSE(take(share(kGB), 3));
}

TEST_F(Shares, GoByWhatTheDeviceHasAndNotByItsType) {
  fleet_.join(NodeId{1}, {8000, 8 * kGB, {device(1, "L4", 23 * kGB)}});
  EXPECT_FALSE(could_ever_place(fleet_, share(24 * kGB)));
  EXPECT_TRUE(could_ever_place(fleet_, share(23 * kGB)));
}

TEST_F(Shares, AreNotPlacedOnDevicesThatAreNotAvailableOrLeased) {
  Device busy = device(1, "L4", 24 * kGB);
  busy.state = DeviceState::in_use;
  fleet_.join(NodeId{1}, {8000, 8 * kGB, {busy, device(2, "L4", 24 * kGB)}});
  fleet_.lease(NodeId{1}, LeaseId{1}, {DeviceId{2}});
  EXPECT_FALSE(take(share(kGB), 1));
  EXPECT_FALSE(take(whole("L4"), 1));
  fleet_.end_lease(NodeId{1}, LeaseId{1});
  EXPECT_EQ(take(share(kGB), 1), DeviceId{2});
}

TEST_F(Shares, OfAnyTypeThatHasAsMuchComeInTheGivenOrder) {
  Resources any;
  any.gpu = {{{"T4", 1}, {"L4", 1}, {"H100", 1}}, 0, 24 * kGB};
  fleet_.join(NodeId{1}, {8000,
                          8 * kGB,
                          {device(1, "T4", 16 * kGB), device(2, "H100", 85 * kGB),
                           device(3, "L4", 24 * kGB)}});
  EXPECT_EQ(take(any, 1), DeviceId{3});
  EXPECT_EQ(take(any, 2), DeviceId{2});
  EXPECT_FALSE(take(any, 3));
}

}  // namespace
}  // namespace ember
