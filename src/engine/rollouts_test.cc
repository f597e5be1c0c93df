// A version that comes up beside the one before it, and takes over once it is up.
#include "engine/engine_fixture.h"

namespace ember {
namespace {

class RolloutTest : public EngineFixture {
 protected:
  static constexpr PoolId kOld{1}, kNew{2};

  static FunctionSettings with_containers(std::uint32_t least, std::uint32_t most) {
    FunctionSettings wanted;
    wanted.scaling.min_containers = least;
    wanted.scaling.max_containers = most;
    return wanted;
  }
  void begin(const FunctionSettings& before, const FunctionSettings& after) {
    old_ = {kOld, kFunction, before};
    new_ = {kNew, kFunction, after, Spread::packed, kOld};
    send(AppDeployed{kApp, {old_, new_}});
  }
  void take_over() { send(AppDeployed{kApp, {new_}}); }
  void withdraw() { send(AppDeployed{kApp, {old_}}); }
  ContainerId started_for(PoolId pool) const {
    for (const StartContainer& start : all<StartContainer>()) {
      if (start.pool == pool) return start.container;
    }
    return {};
  }
  static ContainerId started_first(const std::vector<StartContainer>& starts) {
    for (const StartContainer& start : starts) {
      if (start.pool == kOld) return start.container;
    }
    return {};
  }
  void fail_to_start(ContainerId container) {
    started(container);
    exited(container, ExitCause::load_failed);
  }

  PoolSpec old_, new_;
};

TEST_F(RolloutTest, OldContainersServeUntilTheNewVersionTakesOver) {
  join();
  deploy(with_containers(0, 10));
  const ContainerId old = running_container(1);
  finish(1, old);
  begin(with_containers(0, 10), with_containers(1, 10));
  const ContainerId fresh = only<StartContainer>().container;
  EXPECT_TRUE(all<StopContainer>().empty());
  arrive(2, kOld);
  EXPECT_EQ(only<DispatchInput>().container, old);
  bring_up(fresh);
  take_over();
  EXPECT_TRUE(all<StopContainer>().empty()) << "it runs an input";
  arrive(3, kNew);
  EXPECT_EQ(only<DispatchInput>().container, fresh);
  finish(2, old);
  EXPECT_EQ(only<StopContainer>().container, old);
}

TEST_F(RolloutTest, ContainersThatWereHeldBackHaveTheirWholeWindowOfIdlenessAfterIt) {
  join();
  deploy(with_containers(0, 10));
  const ContainerId old = running_container(1);
  begin(with_containers(0, 10), with_containers(1, 10));
  bring_up(only<StartContainer>().container);
  const Duration window = FunctionSettings{}.scaling.scaledown_window;
  pass(window + Duration::seconds(30));  // another function of the app takes long to come up
  take_over();
  send(ScalingChanged{kNew, with_containers(0, 10).scaling});
  EXPECT_TRUE(all<StopContainer>().empty());
  pass(window);
  EXPECT_NE(only<StopContainer>().container, old);
}

TEST_F(RolloutTest, AVersionThatIsWithdrawnLeavesTheOldOneAsItWas) {
  join();
  deploy(with_containers(1, 10));
  const ContainerId old = only<StartContainer>().container;
  bring_up(old);
  begin(with_containers(1, 10), with_containers(1, 2));
  fail_to_start(started_for(kNew));
  withdraw();
  EXPECT_TRUE(all<StopContainer>().empty());
  EXPECT_FALSE(engine_.pool(kNew).has_value());
  arrive(1, kOld);
  EXPECT_EQ(only<DispatchInput>().container, old);
  forget();
  for (std::uint64_t input = 2; input <= 5; ++input) arrive(input, kOld);
  EXPECT_EQ(all<StartContainer>().size(), 4u) << "its own maximum holds again";
}

TEST_F(RolloutTest, AtItsMaximumAnIdleContainerIsGivenUpForTheNewVersion) {
  join();
  deploy(with_containers(2, 2));
  const auto starts = all<StartContainer>();
  for (const StartContainer& start : starts) bring_up(start.container);
  begin(with_containers(2, 2), with_containers(2, 2));
  const auto stop = only<StopContainer>();
  EXPECT_EQ(stop.reason, Reason{ReasonCode::retired});
  EXPECT_TRUE(all<StartContainer>().empty());
  exited(stop.container, ExitCause::stopped);
  EXPECT_EQ(only<StartContainer>().pool, kNew);
  bring_up(only<StartContainer>().container);
  EXPECT_EQ(pool(kNew).idle, 1u);
  EXPECT_EQ(pool(kOld).idle, 1u) << "half of its floor is enough to take over";
}

TEST_F(RolloutTest, AtItsMaximumABusyContainerEndsWhatItRunsFirst) {
  join();
  deploy(with_containers(0, 1));
  const ContainerId old = running_container(1);
  begin(with_containers(0, 1), with_containers(1, 1));
  EXPECT_TRUE(all<StopContainer>().empty());
  arrive(2, kOld);
  EXPECT_TRUE(all<DispatchInput>().empty());
  finish(1, old);
  EXPECT_EQ(only<AnswerInput>().input, InputId{1});
  EXPECT_EQ(only<StopContainer>().container, old);
  exited(old, ExitCause::stopped);
  EXPECT_EQ(only<StartContainer>().pool, kNew);
  EXPECT_EQ(engine_.explain(InputId{2}), (Reason{ReasonCode::waiting_for_rollout, 1}));
  const ContainerId fresh = only<StartContainer>().container;
  bring_up(fresh);
  take_over();
  const auto dispatched = only<DispatchInput>();
  EXPECT_EQ(dispatched.input, InputId{2}) << "what waits for no container goes to the new version";
  EXPECT_EQ(dispatched.container, fresh);
}

TEST_F(RolloutTest, WhatWaitsWhileANewVersionFailsIsServedByTheOldOne) {
  join();
  deploy(with_containers(0, 1));
  const ContainerId old = running_container(1);
  begin(with_containers(0, 1), with_containers(1, 1));
  arrive(2, kOld);
  finish(1, old);
  exited(old, ExitCause::stopped);
  for (int i = 0; i < 3; ++i) {
    fail_to_start(only<StartContainer>().container);
    EXPECT_TRUE(all<FailInput>().empty());
    if (i < 2) pass(Duration::seconds(30));
  }
  EXPECT_EQ(pool(kNew).failed_starts, 3u);
  withdraw();
  EXPECT_EQ(only<StartContainer>().pool, kOld);
  bring_up(only<StartContainer>().container);
  EXPECT_EQ(only<DispatchInput>().input, InputId{2});
}

TEST_F(RolloutTest, RoomIsTakenOnlyOnceTheRestOfTheVersionIsUp) {
  join();
  const PoolSpec old_other{PoolId{11}, FunctionId{2}, with_containers(1, 10)};
  const PoolSpec new_other{PoolId{12}, FunctionId{2}, with_containers(1, 10), Spread::packed,
                           PoolId{11}};
  old_ = {kOld, kFunction, with_containers(1, 1)};
  new_ = {kNew, kFunction, with_containers(1, 1), Spread::packed, kOld};
  send(AppDeployed{kApp, {old_, old_other}});
  const auto starts = all<StartContainer>();
  for (const StartContainer& start : starts) bring_up(start.container);
  send(AppDeployed{kApp, {old_, old_other, new_, new_other}});
  EXPECT_TRUE(all<StopContainer>().empty()) << "the other function is not up yet";
  bring_up(only<StartContainer>().container);
  EXPECT_EQ(only<StopContainer>().container, started_first(starts));
}

TEST_F(RolloutTest, OnAFullFleetRoomIsTakenFromTheOldVersion) {
  send(NodeJoined{kNode, {1'000, 1ll << 30, {}}});
  FunctionSettings before = with_containers(1, 10), after = with_containers(1, 10);
  before.resources.cpu_millicores = after.resources.cpu_millicores = 1'000;
  deploy(before);
  const ContainerId old = only<StartContainer>().container;
  bring_up(old);
  begin(before, after);
  EXPECT_EQ(only<StopContainer>().container, old);
  exited(old, ExitCause::stopped);
  EXPECT_EQ(only<StartContainer>().pool, kNew) << "and not the old one's floor";
}

TEST_F(RolloutTest, NoRoomIsTakenWhereTheNewVersionWouldNotFitIntoIt) {
  send(NodeJoined{kNode, {2'000, 1ll << 30, {}}});
  FunctionSettings before = with_containers(1, 10), after = with_containers(1, 10);
  before.resources.cpu_millicores = 1'000;
  after.resources.cpu_millicores = 2'000;
  deploy(before);
  bring_up(only<StartContainer>().container);
  begin(before, after);
  EXPECT_TRUE(all<StopContainer>().empty());
  EXPECT_TRUE(all<StartContainer>().empty());
  arrive(1, kOld);
  EXPECT_EQ(all<DispatchInput>().size(), 1u);
}

TEST_F(RolloutTest, WhatWaitsKeepsItsLimitOfTimeWhenItGoesToTheNewVersion) {
  join();
  deploy(with_containers(0, 1));
  const ContainerId old = running_container(1);
  begin(with_containers(0, 1), with_containers(1, 1));
  InputArrived late{InputId{2}, CallId{2}, kOld};
  late.expires = now_ + Duration::seconds(5);
  send(late);
  finish(1, old);
  exited(old, ExitCause::stopped);
  take_over();
  EXPECT_EQ(pool(kNew).waiting, 1u);
  pass(Duration::seconds(5));
  EXPECT_EQ(only<FailInput>().code, ErrorCode::timed_out);
}

}  // namespace
}  // namespace ember
