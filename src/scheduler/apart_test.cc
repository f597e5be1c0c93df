// Containers of one pool that are to lie apart.
#include "scheduler/apart.h"

#include <gtest/gtest.h>

#include "scheduler/place.h"

namespace ember {
namespace {

constexpr std::int64_t kGiB = 1ll << 30;

Device device(std::uint64_t id) { return {DeviceId{id}, "L4", 24 * kGiB, true}; }

NodeCapacity capacity(std::vector<Device> devices) { return {16'000, 64 * kGiB, devices}; }

Resources wants(GpuDemand gpu) {
  Resources resources;
  resources.cpu_millicores = 1000;
  resources.memory_bytes = kGiB;
  resources.gpu = std::move(gpu);
  return resources;
}

class ApartTest : public testing::Test {
 protected:
  // Places one more container of the pool.
  Placement put(const Resources& resources) {
    const auto placement = place(fleet, {resources, kDefaultWorkspace, peers}, {});
    EXPECT_TRUE(placement);
    if (!placement) return {};
    const ContainerId container{++last_container};
    fleet.reserve(placement->node, container,
                  {resources.cpu_millicores, resources.memory_bytes, placement->devices,
                   resources.gpu.share_bytes});
    peers.push_back({container, placement->node});
    return *placement;
  }

  Fleet fleet;
  std::vector<Peer> peers;
  std::uint64_t last_container = 0;
};

TEST_F(ApartTest, TakesTheNodeWithFewestOfThePool) {
  for (const std::uint64_t id : {1, 2, 3}) fleet.join(NodeId{id}, capacity({}));
  const Resources resources = wants({});
  std::vector<NodeId> nodes;
  for (int i = 0; i < 4; ++i) nodes.push_back(put(resources).node);
  EXPECT_EQ(nodes, (std::vector{NodeId{1}, NodeId{2}, NodeId{3}, NodeId{1}}));
}

TEST_F(ApartTest, TakesWholeDevicesOfNodesWithoutThePoolBeforeTheBestFit) {
  fleet.join(NodeId{1}, capacity({device(1), device(2)}));
  fleet.join(NodeId{2}, capacity({device(3), device(4), device(5)}));
  const Resources resources = wants({{{"L4", 1}}});
  EXPECT_EQ(put(resources).node, NodeId{1});  // the best fit
  EXPECT_EQ(put(resources).node, NodeId{2});
}

TEST_F(ApartTest, SharesADeviceWithItsOwnOnlyWhereNoOtherHasRoom) {
  fleet.join(NodeId{1}, capacity({device(1), device(2)}));
  GpuDemand share{{{"L4", 1}}};
  share.share_bytes = 4 * kGiB;
  const Resources resources = wants(share);
  EXPECT_EQ(put(resources).devices, std::vector{DeviceId{1}});
  EXPECT_EQ(put(resources).devices, std::vector{DeviceId{2}});
  EXPECT_EQ(put(resources).devices.size(), 1u);
  peers.clear();
  EXPECT_EQ(put(resources).devices, std::vector{DeviceId{1}});  // the fullest first, packed
}

TEST_F(ApartTest, ADeviceOnAnotherNodeGoesBeforeOneBesideItsOwn) {
  fleet.join(NodeId{1}, capacity({device(1), device(2)}));
  fleet.join(NodeId{2}, capacity({device(3)}));
  GpuDemand share{{{"L4", 1}}};
  share.share_bytes = 4 * kGiB;
  const Resources resources = wants(share);
  EXPECT_EQ(put(resources).node, NodeId{1});
  EXPECT_EQ(put(resources).node, NodeId{2});
  EXPECT_EQ(put(resources).devices, std::vector{DeviceId{2}});
}

}  // namespace
}  // namespace ember
