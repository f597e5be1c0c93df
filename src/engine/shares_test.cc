// Containers that share a device by declared memory.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/engine_fixture.h"

namespace ember {
namespace {

constexpr std::int64_t kGB = 1'000'000'000;
constexpr std::int64_t kDeviceBytes = 24 * kGB;

class SharesOfADevice : public EngineFixture {
 protected:
  SharesOfADevice() { join(kNode, {{DeviceId{1}, "L4", kDeviceBytes, true}}); }

  static FunctionSettings sharing(std::int64_t bytes) {
    FunctionSettings settings;
    settings.resources.gpu = {{{"L4", 1}}, bytes};
    return settings;
  }
  void deploy_app(std::uint64_t app, const FunctionSettings& settings, WorkspaceId workspace) {
    send(AppDeployed{AppId{app}, {{PoolId{app}, FunctionId{app}, settings}}, workspace});
  }
};

TEST_F(SharesOfADevice, RunBesideOneAnother) {
  deploy(sharing(12 * kGB));
  const ContainerId first = running_container(1);
  const ContainerId second = running_container(2);
  EXPECT_NE(first, second);
  EXPECT_EQ(engine_.container(second)->devices, std::vector{DeviceId{1}});
  EXPECT_EQ(engine_.nodes().front().holds.size(), 2u);
}

TEST_F(SharesOfADevice, WaitWithTheReasonWhereTooLittleIsLeft) {
  deploy(sharing(10 * kGB));
  running_container(1);
  const ContainerId second = running_container(2);
  arrive(3);
  EXPECT_TRUE(all<StartContainer>().empty());
  const Reason reason{ReasonCode::waiting_for_share, 10 * kGB, 4 * kGB};
  EXPECT_EQ(engine_.explain(InputId{3}), reason);
  EXPECT_EQ(reason.text(), "waits for 10 GB of a GPU's memory: the most that one has left is 4 GB");
  exited(second, ExitCause::crashed);
  EXPECT_EQ(only<StartContainer>().devices, std::vector{DeviceId{1}});
}

TEST_F(SharesOfADevice, AreNotGivenToAnotherWorkspaceUntilAllAreBack) {
  deploy_app(1, sharing(kGB), WorkspaceId{1});
  deploy_app(2, sharing(kGB), WorkspaceId{2});
  const ContainerId first = running_container(1);
  arrive(2, PoolId{2});
  EXPECT_TRUE(all<StartContainer>().empty());
  EXPECT_EQ(engine_.explain(InputId{2}), (Reason{ReasonCode::waiting_for_share, kGB, 0}));
  exited(first, ExitCause::crashed);
  EXPECT_EQ(all<StartContainer>().back().pool, PoolId{2});
}

TEST_F(SharesOfADevice, AreBilledAsTheirPartOfTheDevice) {
  deploy(sharing(6 * kGB));
  const ContainerId container = running_container(1);
  pass(Duration::seconds(2));
  exited(container, ExitCause::crashed);
  const auto gpu = std::ranges::find(rows_, Meter::gpu, &UsageRow::meter);
  ASSERT_NE(gpu, rows_.end());
  EXPECT_EQ(gpu->units, 1);
  EXPECT_EQ(gpu->share_bytes, 6 * kGB);
  EXPECT_EQ(gpu->device_bytes, kDeviceBytes);
  const auto cpu = std::ranges::find(rows_, Meter::cpu, &UsageRow::meter);
  EXPECT_EQ(cpu->share_bytes, 0);
}

TEST_F(SharesOfADevice, ThatHoldMoreThanTheirPartFailTheInputThatRanAlone) {
  deploy(sharing(6 * kGB));
  const ContainerId container = running_container(1);
  send(ContainerExited{.container = container,
                       .at = now_,
                       .cause = ExitCause::over_gpu_share,
                       .gpu_used_bytes = 7'100'000'000});
  EXPECT_EQ(only<FailInput>().code, ErrorCode::out_of_memory);
  const Reason reason{ReasonCode::container_over_gpu_share, 6 * kGB, 7'100'000'000};
  EXPECT_EQ(only<FailInput>().reason, reason);
  EXPECT_EQ(reason.text(),
            "the container used 7.1 GB of its 6 GB share of a GPU while it ran this input");
}

TEST_F(SharesOfADevice, ThatWereAdoptedBeyondItsMemoryAreEnded) {
  deploy(sharing(13 * kGB));
  send(ContainerAdopted{ContainerId{71}, kPool, kNode, {DeviceId{1}}, now_, now_});
  EXPECT_TRUE(all<StopContainer>().empty());
  send(ContainerAdopted{ContainerId{72}, kPool, kNode, {DeviceId{1}}, now_, now_});
  EXPECT_EQ(only<StopContainer>().container, ContainerId{72});
}

}  // namespace
}  // namespace ember
