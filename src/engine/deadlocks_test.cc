// Inputs that wait for room which is held by what waits for them are failed, and nobody else is.
#include "engine/engine_fixture.h"

namespace ember {
namespace {

constexpr PoolId kOther{2};
constexpr Duration kSecond = Duration::seconds(1);

class Deadlocks : public EngineFixture {
 protected:
  void SetUp() override { join(); }

  static FunctionSettings at_most(std::uint32_t containers) {
    FunctionSettings result;
    result.scaling.max_containers = containers;
    result.timeout = Duration::seconds(600);
    return result;
  }
  // Two functions, each with its own pool.
  void deploy_two(const FunctionSettings& one, const FunctionSettings& other) {
    send(AppDeployed{kApp, {{kPool, kFunction, one}, {kOther, FunctionId{2}, other}}});
  }
  void call(std::uint64_t input, std::uint64_t parent, PoolId pool) {
    send(InputArrived{.input = InputId{input},
                      .call = CallId{input},
                      .pool = pool,
                      .origin = Origin::running_input,
                      .parent = InputId{parent}});
  }
  // The only container of a pool, ready, which runs the input that wanted it.
  ContainerId bring_up_only() {
    const ContainerId container = only<StartContainer>().container;
    bring_up(container);
    return container;
  }
  std::vector<std::uint64_t> failed() const {
    std::vector<std::uint64_t> inputs;
    for (const FailInput& one : all<FailInput>()) inputs.push_back(one.input.value);
    return inputs;
  }
};

TEST_F(Deadlocks, AFunctionThatCallsItselfAtItsMaximumIsToldWithinASecond) {
  deploy(at_most(1));
  running_container(1);
  call(2, 1, kPool);
  forget();
  pass(kSecond);
  EXPECT_EQ(only<FailInput>().input, InputId{2});
  EXPECT_EQ(only<FailInput>().code, ErrorCode::conflict);
  EXPECT_EQ(only<FailInput>().reason, (Reason{ReasonCode::deadlocked, 1}));
}

TEST_F(Deadlocks, ABatchThatWaitsForOneOfItsOwnFunctionIsFound) {
  FunctionSettings batched = at_most(1);
  batched.batching = {4, Duration::seconds(5)};
  deploy(batched);
  running_container(1);
  pass(Duration::seconds(6));
  ASSERT_EQ(pool().running, 1u);
  call(2, 1, kPool);
  forget();
  pass(kSecond);
  EXPECT_EQ(failed(), std::vector<std::uint64_t>{2});
}

TEST_F(Deadlocks, TheCallsOfABatchAreThoseOfItsFirst) {
  FunctionSettings batched = at_most(1);
  batched.batching = {2, Duration::seconds(5)};
  deploy(batched);
  running_container(1);
  arrive(2);
  ASSERT_EQ(pool().running, 2u);
  call(3, 1, kPool);
  forget();
  pass(kSecond);
  EXPECT_EQ(failed(), std::vector<std::uint64_t>{3});
}

TEST_F(Deadlocks, TheCallsOfABatchOutliveTheCallerOfItsFirst) {
  FunctionSettings batched = at_most(1);
  batched.batching = {3, Duration::seconds(5)};
  deploy(batched);
  running_container(1);
  arrive(2);
  arrive(3);
  ASSERT_EQ(pool().running, 3u);
  call(4, 1, kPool);
  send(InputCancelled{InputId{1}});
  call(5, 1, kPool);
  send(InputCancelled{InputId{2}});
  forget();
  pass(kSecond);
  EXPECT_EQ(failed(), (std::vector<std::uint64_t>{4, 5}));
}

TEST_F(Deadlocks, ABatchThatNobodyWaitsForWaitsForNobody) {
  FunctionSettings batched = at_most(1);
  batched.batching = {2, Duration::seconds(5)};
  deploy(batched);
  const ContainerId container = running_container(1);
  arrive(2);
  call(3, 1, kPool);
  send(InputCancelled{InputId{1}});
  send(InputCancelled{InputId{2}});
  forget();
  pass(kSecond);
  EXPECT_TRUE(failed().empty()) << "it is interrupted, and its slot comes free";
  finish(1, container);
  finish(2, container);
  pass(Duration::seconds(6));
  EXPECT_EQ(only<DispatchInput>().input, InputId{3});
}

// Each waits for the next: a batch for 3, 3 for another batch, that for one of the first.
TEST_F(Deadlocks, NobodyWaitsInACircleOverABatch) {
  FunctionSettings batched = at_most(2);
  batched.batching = {2, Duration::seconds(5)};
  deploy_two(batched, at_most(2));
  running_container(1);
  arrive(2);
  ASSERT_EQ(pool().running, 2u);
  call(3, 1, kOther);
  bring_up_only();
  send(InputAwaited{InputId{2}, InputId{3}});
  call(4, 3, kOther);
  bring_up_only();
  send(InputAwaited{InputId{1}, InputId{4}});
  call(5, 4, kOther);
  forget();
  pass(kSecond);
  EXPECT_EQ(failed(), std::vector<std::uint64_t>{5});
}

TEST_F(Deadlocks, NobodyLooksForOneOnceNobodyWaits) {
  deploy_two(at_most(1), at_most(1));
  const ContainerId parent = running_container(1);
  call(2, 1, kOther);
  const ContainerId child = bring_up_only();
  finish(2, child);
  finish(1, parent);
  pass(kSecond);  // a timer that was set is let run out
  EXPECT_GT(engine_.next_deadline(), now_ + kSecond) << "the idle windows alone are left";
}

TEST_F(Deadlocks, WhatGathersForABatchBesideItsParentIsInNone) {
  FunctionSettings batched = at_most(1);
  batched.batching = {4, Duration::seconds(5)};
  batched.scaling.max_inputs = batched.scaling.target_inputs = 2;
  deploy(batched);
  running_container(1);
  pass(Duration::seconds(6));
  ASSERT_EQ(pool().running, 1u);
  call(2, 1, kPool);
  forget();
  pass(Duration::seconds(4));
  EXPECT_EQ(pool().running, 1u) << "it waits its five seconds for more";
  pass(Duration::seconds(2));
  EXPECT_TRUE(failed().empty());
  EXPECT_EQ(pool().running, 2u);
}

TEST_F(Deadlocks, WhoWaitsForTheSameRoomFromOutsideIsServedAfterwards) {
  deploy(at_most(1));
  const ContainerId container = running_container(1);
  arrive(2);
  call(3, 1, kPool);
  forget();
  pass(kSecond);
  EXPECT_EQ(failed(), std::vector<std::uint64_t>{3});
  finish(1, container);
  EXPECT_EQ(only<DispatchInput>().input, InputId{2});
}

TEST_F(Deadlocks, ALoopOverAnotherFunctionIsFound) {
  deploy_two(at_most(1), at_most(1));
  running_container(1);
  call(2, 1, kOther);
  bring_up_only();
  call(3, 2, kPool);
  forget();
  pass(kSecond);
  EXPECT_EQ(failed(), std::vector<std::uint64_t>{3});
}

TEST_F(Deadlocks, NobodyIsFailedWhileOneOfTheContainersRunsSomethingThatWaitsForNobody) {
  deploy(at_most(2));
  running_container(1);
  const ContainerId second = running_container(2);
  call(3, 1, kPool);
  forget();
  pass(Duration::seconds(60));
  EXPECT_TRUE(failed().empty());
  finish(2, second);
  EXPECT_EQ(only<DispatchInput>().input, InputId{3});
}

TEST_F(Deadlocks, NobodyIsFailedWhileAContainerIsStartingOrMayStart) {
  deploy(at_most(2));
  running_container(1);
  call(2, 1, kPool);
  forget();
  pass(kSecond);
  EXPECT_TRUE(failed().empty());
}

TEST_F(Deadlocks, NobodyIsFailedWhileWhatItsParentCalledElsewhereRuns) {
  deploy_two(at_most(1), at_most(1));
  running_container(1);
  call(2, 1, kOther);
  const ContainerId other = bring_up_only();
  arrive(3);
  call(4, 1, kOther);
  forget();
  pass(Duration::seconds(60));
  EXPECT_TRUE(failed().empty());
  finish(2, other);
  EXPECT_EQ(only<DispatchInput>().input, InputId{4});
}

TEST_F(Deadlocks, AllThatOneParentWaitsForInVainFailsAndTheOthersGoOn) {
  deploy(at_most(2));
  running_container(1);
  const ContainerId newest = running_container(2);
  for (const std::uint64_t child : {11, 12}) call(child, 1, kPool);
  for (const std::uint64_t child : {21, 22}) call(child, 2, kPool);
  forget();
  pass(kSecond - Duration::milliseconds(300));
  EXPECT_EQ(failed(), (std::vector<std::uint64_t>{21, 22}));
  finish(2, newest);
  EXPECT_EQ(only<DispatchInput>().input, InputId{11});
  forget();
  pass(Duration::seconds(60));
  EXPECT_TRUE(failed().empty());
}

TEST_F(Deadlocks, TheOnlyDeviceHeldByTheParentIsOne) {
  FunctionSettings gpu = at_most(5);
  gpu.resources.gpu = {{{"L4", 1}}};
  join(NodeId{2}, {{DeviceId{1}, "L4", 24ll << 30, true}});
  deploy_two(gpu, gpu);
  running_container(1);
  call(2, 1, kOther);
  forget();
  pass(kSecond);
  EXPECT_EQ(failed(), std::vector<std::uint64_t>{2});
}

TEST_F(Deadlocks, ADeviceThatAnIdleContainerHoldsIsNone) {
  FunctionSettings gpu = at_most(5);
  gpu.resources.gpu = {{{"L4", 1}}};
  gpu.scaling.scaledown_window = Duration::seconds(5);
  join(NodeId{2}, {{DeviceId{1}, "L4", 24ll << 30, true}, {DeviceId{2}, "L4", 24ll << 30, true}});
  deploy_two(gpu, gpu);
  const ContainerId idle = running_container(1);
  running_container(2);
  finish(1, idle);
  call(3, 2, kOther);
  forget();
  pass(Duration::seconds(6));
  EXPECT_TRUE(failed().empty());
}

TEST_F(Deadlocks, AWaitForACallThatWasMadeBeforeCounts) {
  deploy(at_most(1));
  running_container(1);
  arrive(2);
  forget();
  pass(kSecond);
  EXPECT_TRUE(failed().empty());
  send(InputAwaited{InputId{2}, InputId{1}});
  pass(kSecond);
  EXPECT_EQ(failed(), std::vector<std::uint64_t>{2});
}

TEST_F(Deadlocks, AParentWhoseAttemptIsOverWaitsForNobody) {
  FunctionSettings short_lived = at_most(1);
  short_lived.timeout = Duration::milliseconds(400);
  deploy(short_lived);
  const ContainerId container = running_container(1);
  call(2, 1, kPool);
  forget();
  pass(Duration::milliseconds(450));
  EXPECT_EQ(failed(), std::vector<std::uint64_t>{1});
  finish(1, container);
  EXPECT_EQ(only<DispatchInput>().input, InputId{2});
}

}  // namespace
}  // namespace ember
