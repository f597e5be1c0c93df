// How many containers: floors, buffers, windows, versions under one maximum, and a fleet that has
// no room.
#include "engine/engine_fixture.h"

namespace ember {
namespace {

class ScalingTest : public EngineFixture {
 protected:
  static constexpr PoolId kNew{2};

  void SetUp() override { join(); }

  static FunctionSettings at_most(std::uint32_t max_containers) {
    FunctionSettings result;
    result.scaling.max_containers = max_containers;
    return result;
  }
  void bring_up_all() {
    for (const StartContainer& start : all<StartContainer>()) {
      const auto kept = actions_;
      bring_up(start.container);
      actions_ = kept;
    }
  }
};

TEST_F(ScalingTest, KeepsTheFloorFromTheDeployOn) {
  FunctionSettings warm;
  warm.scaling.min_containers = 2;
  deploy(warm);
  const auto starts = all<StartContainer>();
  ASSERT_EQ(starts.size(), 2u);
  EXPECT_EQ(starts[0].reason, (Reason{ReasonCode::min_containers, 2}));
  EXPECT_EQ(pool().desired, 2u);
  EXPECT_EQ(pool().scale_reason, (Reason{ReasonCode::min_containers, 2}));
  bring_up_all();
  forget();
  pass(Duration::seconds(1000));
  EXPECT_TRUE(all<StopContainer>().empty());
}

TEST_F(ScalingTest, HoldsTheBufferWhileActiveAndLetsItGoAfterwards) {
  FunctionSettings buffered;
  buffered.scaling.buffer_containers = 1;
  deploy(buffered);
  arrive(1);
  const auto starts = all<StartContainer>();
  ASSERT_EQ(starts.size(), 2u);
  EXPECT_EQ(starts[0].reason, (Reason{ReasonCode::demand, 1, 1}));
  EXPECT_EQ(starts[1].reason, (Reason{ReasonCode::buffer_containers, 1}));
  bring_up(starts[0].container);
  bring_up(starts[1].container);
  forget();
  pass(Duration::seconds(200));  // far over the window, but the function is active
  EXPECT_TRUE(all<StopContainer>().empty());
  finish(1, starts[0].container);
  // The spare one's window is long over, so it goes at once; the other has its own window.
  EXPECT_EQ(only<StopContainer>().container, starts[1].container);
  EXPECT_EQ(only<StopContainer>().reason, (Reason{ReasonCode::idle_window_over, 200'000}));
  exited(starts[1].container, ExitCause::stopped);
  forget();
  pass(Duration::seconds(60));
  EXPECT_EQ(only<StopContainer>().container, starts[0].container);
}

TEST_F(ScalingTest, StopsAnIdleContainerWhenItsWindowIsOverToTheMicrosecond) {
  deploy({});
  const ContainerId container = running_container(1);
  finish(1, container);
  forget();
  pass(Duration::seconds(60) - Duration::microseconds(1));
  EXPECT_TRUE(all<StopContainer>().empty());
  pass(Duration::microseconds(1));
  EXPECT_EQ(only<StopContainer>().mode, StopMode::graceful);
  EXPECT_EQ(only<StopContainer>().reason, (Reason{ReasonCode::idle_window_over, 60'000}));
  EXPECT_EQ(pool().stopping, 1u);
}

TEST_F(ScalingTest, CountsTheWindowFromTheLastInput) {
  deploy({});
  const ContainerId container = running_container(1);
  finish(1, container);
  for (std::uint64_t input = 2; input < 6; ++input) {
    pass(Duration::seconds(50));
    arrive(input);
    finish(input, container);
  }
  forget();
  pass(Duration::seconds(59));
  EXPECT_TRUE(all<StopContainer>().empty());
  pass(Duration::seconds(1));
  EXPECT_EQ(all<StopContainer>().size(), 1u);
}

TEST_F(ScalingTest, StopsAtOnceWhereTheWindowIsZero) {
  FunctionSettings eager;
  eager.scaling.scaledown_window = {};
  deploy(eager);
  const ContainerId container = running_container(1);
  finish(1, container);
  EXPECT_EQ(only<StopContainer>().reason, (Reason{ReasonCode::idle_window_over, 0}));
}

TEST_F(ScalingTest, AimsAtTheTargetAndNeverPassesTheMaximum) {
  FunctionSettings settings = at_most(3);
  settings.scaling.max_inputs = 4;
  settings.scaling.target_inputs = 2;
  deploy(settings);
  forget();
  for (std::uint64_t input = 1; input <= 4; ++input) arrive(input);
  EXPECT_EQ(all<StartContainer>().size(), 2u);
  for (std::uint64_t input = 5; input <= 40; ++input) arrive(input);
  EXPECT_EQ(all<StartContainer>().size(), 3u);
  EXPECT_EQ(pool().desired, 3u);
  EXPECT_EQ(pool().scale_reason, (Reason{ReasonCode::waiting_for_max_containers, 3}));
}

TEST_F(ScalingTest, RetiresAVersionAsItsContainersFallIdle) {
  FunctionSettings warm;
  warm.scaling.min_containers = 1;
  deploy(warm);
  const ContainerId idle = only<StartContainer>().container;
  bring_up(idle);
  arrive(1);
  arrive(2);
  const ContainerId second = only<StartContainer>().container;
  bring_up(second);
  finish(1, idle);
  deploy(warm, kNew);
  EXPECT_EQ(only<StopContainer>().container, idle);
  EXPECT_EQ(only<StopContainer>().reason, Reason{ReasonCode::retired});
  EXPECT_EQ(only<StartContainer>().pool, kNew);
  finish(2, second);
  EXPECT_EQ(only<StopContainer>().container, second);
  exited(idle, ExitCause::stopped);
  exited(second, ExitCause::stopped);
  EXPECT_EQ(engine_.pools().size(), 1u);
}

TEST_F(ScalingTest, HoldsTheMaximumOverVersionsAndLosesNoInputOfTheOldOne) {
  deploy(at_most(1));
  const ContainerId old = running_container(1);
  arrive(2);
  deploy(at_most(1), kNew);
  arrive(3, kNew);
  EXPECT_TRUE(all<StartContainer>().empty());
  EXPECT_EQ(engine_.explain(InputId{3}), (Reason{ReasonCode::waiting_for_max_containers, 1}));
  finish(1, old);
  EXPECT_EQ(only<DispatchInput>().input, InputId{2});
  finish(2, old);
  EXPECT_EQ(only<StopContainer>().container, old);
  exited(old, ExitCause::stopped);
  EXPECT_EQ(only<StartContainer>().pool, kNew);
}

TEST_F(ScalingTest, GivesARetiredVersionItsTurnWhenTheNewOneHoldsEverything) {
  deploy(at_most(1));
  const ContainerId old = running_container(1);
  arrive(2);
  deploy(at_most(1), kNew);
  arrive(10, kNew);
  arrive(11, kNew);
  // The node is away for a moment; the old version's inputs wait again and go first.
  send(NodeLost{kNode});
  join();
  const auto start = only<StartContainer>();
  EXPECT_EQ(start.pool, kPool);
  // It is refused, and the new version takes the room.
  send(ContainerRefused{start.container});
  const auto other = only<StartContainer>();
  EXPECT_EQ(other.pool, kNew);
  bring_up(other.container);
  EXPECT_EQ(only<DispatchInput>().input, InputId{10});
  pass(Duration::seconds(1));
  // At its next turn the old version asks for room: after input 10 the container gives way.
  finish(10, other.container);
  EXPECT_TRUE(all<DispatchInput>().empty());
  EXPECT_EQ(only<StopContainer>().reason, (Reason{ReasonCode::over_desired, 1, 1}));
  exited(other.container, ExitCause::stopped);
  EXPECT_EQ(only<StartContainer>().pool, kPool);
  bring_up(only<StartContainer>().container);
  EXPECT_EQ(only<DispatchInput>().input, InputId{1});
  EXPECT_NE(old, only<DispatchInput>().container);
}

TEST_F(ScalingTest, RetiredByAnAppWithoutFunctionsLeavesNothingBehind) {
  deploy(at_most(2));
  const ContainerId container = running_container(1);
  finish(1, container);
  send(AppDeployed{kApp, {}});
  EXPECT_EQ(only<StopContainer>().reason, Reason{ReasonCode::retired});
  exited(container, ExitCause::stopped);
  EXPECT_TRUE(engine_.pools().empty());
}

TEST_F(ScalingTest, StartsNothingBeforeWhatSurvivedIsAdopted) {
  EngineOptions options;
  options.begin = Begin::recovering;
  engine_ = Engine(options);
  FunctionSettings warm = at_most(1);
  warm.scaling.min_containers = 1;
  deploy(warm);
  join();
  arrive(1);
  EXPECT_TRUE(all<StartContainer>().empty());
  send(ContainerAdopted{ContainerId{7}, kPool, kNode, {}, now_, now_});
  send(RecoveryEnded{});
  EXPECT_TRUE(all<StartContainer>().empty());
  ready(ContainerId{7});
  EXPECT_EQ(only<DispatchInput>().container, ContainerId{7});
}

TEST_F(ScalingTest, HoldsExecutionToItsTimeoutWhileItRecovers) {
  EngineOptions options;
  options.begin = Begin::recovering;
  engine_ = Engine(options);
  deploy(at_most(1));
  join();
  send(ContainerAdopted{ContainerId{7}, kPool, kNode, {}, now_, now_});
  ready(ContainerId{7});
  arrive(1);
  forget();
  pass(FunctionSettings{}.timeout);
  EXPECT_EQ(only<FailInput>().code, ErrorCode::timed_out);
}

TEST_F(ScalingTest, DrainsAcceptedWorkAndStopsTheRest) {
  FunctionSettings warm = at_most(2);
  warm.scaling.min_containers = 2;
  deploy(warm);
  const auto starts = all<StartContainer>();
  ASSERT_EQ(starts.size(), 2u);
  bring_up(starts[0].container);
  bring_up(starts[1].container);
  arrive(1);
  send(DrainStarted{});
  EXPECT_EQ(only<StopContainer>().container, starts[1].container);
  EXPECT_EQ(only<StopContainer>().reason, Reason{ReasonCode::draining});
  arrive(2);
  EXPECT_EQ(only<FailInput>().code, ErrorCode::unavailable);
  EXPECT_EQ(only<FailInput>().reason, Reason{ReasonCode::draining});
  exited(starts[1].container, ExitCause::stopped);
  // What runs may call on another to come to its end.
  send(InputArrived{InputId{3}, CallId{3}, kPool, KeyId{}, Origin::running_input});
  const ContainerId helper = only<StartContainer>().container;
  bring_up(helper);
  EXPECT_EQ(only<DispatchInput>().input, InputId{3});
  finish(3, helper);
  EXPECT_EQ(only<StopContainer>().container, helper);
  exited(helper, ExitCause::stopped);
  finish(1, starts[0].container);
  EXPECT_EQ(only<AnswerInput>().input, InputId{1});
  EXPECT_EQ(only<StopContainer>().container, starts[0].container);
  exited(starts[0].container, ExitCause::stopped);
  forget();
  pass(Duration::seconds(3600));
  EXPECT_TRUE(actions_.empty());
  EXPECT_EQ(engine_.next_deadline(), Time::never());
}

TEST_F(ScalingTest, StartsContainersForAcceptedInputsWhileDraining) {
  deploy(at_most(1));
  const ContainerId lost = running_container(1);
  send(DrainStarted{});
  exited(lost, ExitCause::stopped);
  EXPECT_EQ(only<StartContainer>().reason.code, ReasonCode::demand);
}

TEST_F(ScalingTest, SaysThatThereIsNoNodeAtAll) {
  deploy({});
  send(NodeLost{kNode});
  arrive(1);
  EXPECT_EQ(engine_.explain(InputId{1}), Reason{ReasonCode::waiting_for_node});
  join();
  EXPECT_EQ(engine_.explain(InputId{1})->code, ReasonCode::waiting_for_start);
}

TEST_F(ScalingTest, SharesRoomThatAppearsAmongThosePoolsThatWaitForIt) {
  FunctionSettings gpu = at_most(4);
  gpu.resources.gpu.choices = {{"L4", 1}};
  send(AppDeployed{kApp, {{PoolId{1}, FunctionId{1}, gpu}, {PoolId{2}, FunctionId{2}, gpu}}});
  arrive(1, PoolId{1});
  EXPECT_EQ(engine_.explain(InputId{1}), Reason{ReasonCode::never_placeable});
  arrive(2, PoolId{1});
  arrive(3, PoolId{2});
  EXPECT_TRUE(all<StartContainer>().empty());
  join(NodeId{2}, {{DeviceId{1}, "L4", 0, true}, {DeviceId{2}, "L4", 0, true}});
  const auto starts = all<StartContainer>();
  ASSERT_EQ(starts.size(), 2u);
  EXPECT_EQ(starts[0].pool, PoolId{1});
  EXPECT_EQ(starts[1].pool, PoolId{2});
  EXPECT_EQ(pool(PoolId{1}).waiting, 2u);
}

TEST_F(ScalingTest, SmallDemandsPassABigOneThatDoesNotFit) {
  FunctionSettings big = at_most(1), small = at_most(1);
  big.resources.gpu.choices = {{"L4", 2}};
  small.resources.gpu.choices = {{"L4", 1}};
  send(AppDeployed{kApp, {{PoolId{1}, FunctionId{1}, big}, {PoolId{2}, FunctionId{2}, small}}});
  arrive(1, PoolId{1});
  arrive(2, PoolId{2});
  join(NodeId{2}, {{DeviceId{1}, "L4", 0, true}});
  EXPECT_EQ(only<StartContainer>().pool, PoolId{2});
}

TEST(EngineDeterminism, TheSameEventsGiveTheSameHashAndAnotherOneDoesNot) {
  const auto run = [](int inputs) {
    Engine engine{EngineOptions{}};
    Time now = Time::from_ms(1);
    engine.handle(NodeJoined{NodeId{1}, {64'000, 1ll << 40, {}}}, now);
    engine.handle(AppDeployed{AppId{1}, {{PoolId{1}, FunctionId{1}, {}}}}, now);
    for (int i = 1; i <= inputs; ++i) {
      engine.handle(InputArrived{InputId{std::uint64_t(i)}, CallId{1}, PoolId{1}}, now);
    }
    return engine.state_hash();
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

TEST(ReasonText, SaysEachReasonInOneLineWithoutAFullStop) {
  for (int code = 0; code <= static_cast<int>(ReasonCode::never_placeable); ++code) {
    const std::string text = Reason{static_cast<ReasonCode>(code), 1, 2}.text();
    EXPECT_FALSE(text.empty());
    EXPECT_NE(text.back(), '.');
    EXPECT_EQ(text.find('\n'), std::string::npos);
  }
  EXPECT_EQ((Reason{ReasonCode::waiting_for_start, 2, 1}.text()),
            "waits for 2 containers to start; 1 input ahead of it");
}

TEST_F(ScalingTest, ChangesAtOnceWithoutADeploy) {
  deploy(settings());
  send(ScalingChanged{kPool, {.min_containers = 2}});
  ASSERT_EQ(all<StartContainer>().size(), 2u);
  EXPECT_EQ(pool().scale_reason, (Reason{ReasonCode::min_containers, 2}));
  bring_up_all();
  forget();
  send(ScalingChanged{kPool, {.scaledown_window = Duration::seconds(5)}});
  pass(Duration::seconds(4));
  EXPECT_TRUE(all<StopContainer>().empty());
  pass(Duration::seconds(2));
  EXPECT_EQ(all<StopContainer>().size(), 2u);
}

TEST_F(ScalingTest, AChangedMaximumHoldsForAllVersions) {
  deploy(at_most(1));
  for (std::uint64_t input = 1; input <= 3; ++input) arrive(input);
  forget();
  send(ScalingChanged{kPool, {.max_containers = 3}});
  EXPECT_EQ(all<StartContainer>().size(), 2u);
  deploy(at_most(1), kNew);
  forget();
  send(ScalingChanged{kPool, {.max_containers = 9}});
  arrive(4, kNew);
  EXPECT_TRUE(all<StartContainer>().empty()) << "an earlier version's pool changes nothing";
  EXPECT_EQ(pool(kNew).wait_reason.code, ReasonCode::waiting_for_max_containers);
}

TEST_F(ScalingTest, WhatOneContainerTakesIsTheVersionsOwn) {
  FunctionSettings four;
  four.scaling.max_inputs = four.scaling.target_inputs = 4;
  deploy(four);
  send(ScalingChanged{kPool, {.max_containers = 5, .max_inputs = 1, .target_inputs = 1}});
  running_container(1);
  forget();
  for (std::uint64_t input = 2; input <= 4; ++input) arrive(input);
  EXPECT_TRUE(all<StartContainer>().empty());
  EXPECT_EQ(pool().running, 4u);
}

}  // namespace
}  // namespace ember
