#include <set>

#include "engine/engine_fixture.h"

namespace ember {
namespace {

class Batches : public EngineFixture {
 protected:
  static FunctionSettings batched(std::uint32_t size, std::int64_t wait_ms) {
    FunctionSettings settings;
    settings.scaling.max_containers = 1;
    settings.batching = {size, Duration::milliseconds(wait_ms)};
    return settings;
  }
  // A container that is ready and idle, and has run nothing yet.
  ContainerId idle_container(FunctionSettings settings) {
    settings.scaling.min_containers = 1;
    join();
    deploy(settings);
    const ContainerId container = only<StartContainer>().container;
    bring_up(container);
    return container;
  }
  void arrive_many(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t input = first; input <= last; ++input) arrive(input);
  }
  // A container that runs the inputs from 1 on as one batch.
  ContainerId running_batch(FunctionSettings settings, std::uint64_t size) {
    const ContainerId container = idle_container(std::move(settings));
    arrive_many(1, size);
    pass(Duration::milliseconds(10));
    EXPECT_EQ(pool().running, size);
    return container;
  }
  void fail(std::uint64_t input, ContainerId container, Attempt attempt = 1) {
    send(InputFinished{InputId{input}, attempt, container, InputOutcome::failed});
  }
  void cancel(std::uint64_t input) { send(InputCancelled{InputId{input}}); }
  std::vector<std::uint64_t> dispatched() const {
    std::vector<std::uint64_t> inputs;
    for (const DispatchInput& one : all<DispatchInput>()) inputs.push_back(one.input.value);
    return inputs;
  }
  using Inputs = std::vector<std::uint64_t>;
};

TEST_F(Batches, AFullOneGoesAtOnce) {
  const ContainerId container = idle_container(batched(3, 1000));
  arrive(1);
  arrive(2);
  EXPECT_TRUE(dispatched().empty());
  EXPECT_EQ(engine_.explain(InputId{1}), (Reason{ReasonCode::waiting_for_batch, 2, 1000}));
  arrive(3);
  EXPECT_EQ(dispatched(), (Inputs{1, 2, 3}));
  for (const DispatchInput& one : all<DispatchInput>()) {
    EXPECT_EQ(one.container, container);
    EXPECT_EQ(one.batch, (BatchPlace{InputId{1}, 1, 3}));
  }
}

TEST_F(Batches, OneGoesAfterItsWaitFromTheFirstInputOn) {
  idle_container(batched(8, 100));
  arrive(1);
  pass(Duration::milliseconds(60));
  arrive(2);
  pass(Duration::milliseconds(39));
  EXPECT_TRUE(dispatched().empty());
  pass(Duration::milliseconds(1));
  EXPECT_EQ(dispatched(), (Inputs{1, 2}));
}

TEST_F(Batches, WhoIsAloneWaitsForNobodyOnceItIsKnownHowLongABatchRuns) {
  const ContainerId container = idle_container(batched(8, 100));
  arrive(1);
  pass(Duration::milliseconds(100));
  after(Duration::milliseconds(20));
  finish(1, container);
  after(Duration::seconds(1));
  arrive(2);
  EXPECT_TRUE(dispatched().empty());
  pass(Duration{});  // what comes in the same turn of the loop would have run with it
  EXPECT_EQ(dispatched(), (Inputs{2}));
}

TEST_F(Batches, WhatComesInOneTurnRunsTogether) {
  const ContainerId container = idle_container(batched(8, 100));
  arrive(1);
  pass(Duration::milliseconds(100));
  after(Duration::milliseconds(20));
  finish(1, container);
  after(Duration::seconds(1));
  arrive_many(2, 5);
  pass(Duration{});
  EXPECT_EQ(dispatched(), (Inputs{2, 3, 4, 5}));
}

TEST_F(Batches, WhatHasComeWhileOneRanGoesWhenThatEnds) {
  const ContainerId container = running_batch(batched(4, 10), 1);
  arrive_many(2, 4);
  pass(Duration::milliseconds(50));
  EXPECT_TRUE(dispatched().empty());
  finish(1, container);
  EXPECT_EQ(dispatched(), (Inputs{2, 3, 4}));
}

TEST_F(Batches, TakesOneSlotHoweverManyItHas) {
  FunctionSettings settings = batched(2, 0);
  settings.scaling.max_inputs = settings.scaling.target_inputs = 2;
  const ContainerId container = idle_container(settings);
  forget();
  arrive_many(1, 6);
  EXPECT_EQ(dispatched(), (Inputs{1, 2, 3, 4}));
  finish(1, container);
  EXPECT_EQ(dispatched().size(), 4u);  // its batch runs on
  finish(2, container);
  EXPECT_EQ(dispatched(), (Inputs{1, 2, 3, 4, 5, 6}));
}

TEST_F(Batches, CountForTheNumberOfContainersAsOne) {
  FunctionSettings settings = batched(4, 0);
  settings.scaling.max_containers = 10;
  join();
  deploy(settings);
  forget();
  arrive_many(1, 8);
  EXPECT_EQ(all<StartContainer>().size(), 2u);
  arrive(9);
  EXPECT_EQ(all<StartContainer>().size(), 3u);
}

TEST_F(Batches, BesideOneThatRunsTheNextIsInNoHurry) {
  FunctionSettings settings = batched(4, 100);
  settings.scaling.max_inputs = settings.scaling.target_inputs = 2;
  const ContainerId container = idle_container(settings);
  arrive_many(1, 4);
  after(Duration::milliseconds(20));
  for (std::uint64_t input = 1; input <= 4; ++input) finish(input, container);
  after(Duration::seconds(1));
  arrive(5);
  pass(Duration{});
  EXPECT_EQ(pool().running, 1u);
  after(Duration::seconds(1));
  arrive(6);
  pass(Duration::milliseconds(99));
  EXPECT_EQ(pool().waiting, 1u);
  pass(Duration::milliseconds(1));
  EXPECT_EQ(pool().running, 2u);
}

TEST_F(Batches, TakeTurnsBetweenCallers) {
  const ContainerId container = running_batch(batched(4, 10), 1);
  for (std::uint64_t input = 2; input <= 7; ++input) arrive(input, kPool, KeyId{1});
  arrive(8, kPool, KeyId{2});
  finish(1, container);
  EXPECT_EQ(dispatched(), (Inputs{2, 8, 3, 4}));
}

TEST_F(Batches, ACancelledInputLeavesTheOneItWaitsFor) {
  idle_container(batched(3, 100));
  arrive(1);
  arrive(2);
  cancel(1);
  EXPECT_EQ(only<FailInput>().code, ErrorCode::cancelled);
  arrive(3);
  EXPECT_TRUE(dispatched().empty());
  arrive(4);
  EXPECT_EQ(dispatched(), (Inputs{2, 3, 4}));
}

TEST_F(Batches, ACancelledInputDoesNotDisturbItsNeighbours) {
  const ContainerId container = running_batch(batched(3, 100), 3);
  cancel(1);
  EXPECT_EQ(only<FailInput>().code, ErrorCode::cancelled);
  EXPECT_TRUE(all<CancelInput>().empty());
  pass(Duration::seconds(60));
  EXPECT_TRUE(all<StopContainer>().empty());
  finish(2, container);
  EXPECT_EQ(only<AnswerInput>().input, InputId{2});
  finish(1, container);
  EXPECT_TRUE(all<AnswerInput>().empty());
  finish(3, container);
  EXPECT_EQ(only<AnswerInput>().input, InputId{3});
  EXPECT_EQ(pool().idle, 1u);
}

TEST_F(Batches, IsInterruptedOnceNobodyWaitsForAnyOfIt) {
  const ContainerId container = running_batch(batched(3, 100), 3);
  cancel(2);
  cancel(1);
  EXPECT_TRUE(all<CancelInput>().empty());
  cancel(3);
  const CancelInput interruption = only<CancelInput>();
  EXPECT_EQ(interruption.input, InputId{1});  // the first stands for all
  EXPECT_EQ(interruption.attempt, 1);
  forget();
  pass(Duration::seconds(3));
  EXPECT_EQ(only<StopContainer>().container, container);
  EXPECT_EQ(only<StopContainer>().mode, StopMode::kill);
  EXPECT_EQ(only<StopContainer>().reason.code, ReasonCode::cancelled);
}

TEST_F(Batches, WhatEndedEarlyIsToLetGoSoonAfterTheOthers) {
  const ContainerId container = running_batch(batched(2, 100), 2);
  cancel(1);
  pass(Duration::seconds(10));
  finish(2, container);
  forget();
  pass(Duration::milliseconds(1900));
  EXPECT_TRUE(all<StopContainer>().empty());
  pass(Duration::milliseconds(200));
  EXPECT_EQ(only<StopContainer>().mode, StopMode::kill);
}

TEST_F(Batches, TheTimeoutIsThatOfTheExecution) {
  FunctionSettings settings = batched(3, 100);
  settings.timeout = Duration::seconds(5);
  const ContainerId container = idle_container(settings);
  arrive(1);
  pass(Duration::milliseconds(90));
  arrive(2);
  pass(Duration::milliseconds(10));
  forget();
  pass(Duration::milliseconds(4999));
  EXPECT_TRUE(all<FailInput>().empty());
  pass(Duration::milliseconds(1));
  EXPECT_EQ(all<FailInput>().size(), 2u);
  for (const FailInput& one : all<FailInput>()) EXPECT_EQ(one.code, ErrorCode::timed_out);
  EXPECT_EQ(only<CancelInput>().input, InputId{1});
  finish(1, container);
  finish(2, container);
  pass(Duration::seconds(10));
  EXPECT_TRUE(all<StopContainer>().empty());
}

TEST_F(Batches, WhatExpiresWhileItGathersGoesInstead) {
  idle_container(batched(8, 1000));
  arrive(1);
  send(InputArrived{.input = InputId{2},
                    .call = CallId{2},
                    .pool = kPool,
                    .expires = now_ + Duration::milliseconds(50)});
  pass(Duration::milliseconds(50));
  EXPECT_TRUE(all<FailInput>().empty());
  EXPECT_EQ(dispatched(), (Inputs{1, 2}));
}

TEST_F(Batches, WhatExpiresWithoutASlotFails) {
  running_batch(batched(8, 10), 1);
  send(InputArrived{.input = InputId{2},
                    .call = CallId{2},
                    .pool = kPool,
                    .expires = now_ + Duration::milliseconds(50)});
  pass(Duration::milliseconds(50));
  EXPECT_EQ(only<FailInput>().reason.code, ReasonCode::expired);
}

TEST_F(Batches, AFullQueueRefusesNobodyWhileASlotIsFree) {
  FunctionSettings settings = batched(8, 1000);
  settings.scaling.queue_limit = 2;
  idle_container(settings);
  arrive(1);
  arrive(2);
  EXPECT_TRUE(dispatched().empty());
  arrive(3);
  EXPECT_EQ(dispatched(), (Inputs{1, 2, 3}));
  arrive(4);
  arrive(5);
  arrive(6);
  EXPECT_EQ(only<FailInput>().code, ErrorCode::resource_exhausted);
}

TEST_F(Batches, EachOfOneThatFailedIsTriedAgainByItsOwnRetriesAndTogether) {
  FunctionSettings settings = batched(3, 100);
  settings.retries.max_retries = 1;
  const ContainerId container = running_batch(settings, 3);
  forget();
  for (std::uint64_t input = 1; input <= 3; ++input) {
    after(Duration::microseconds(7));
    fail(input, container);
  }
  EXPECT_EQ(all<RetryInput>().size(), 3u);
  pass(Duration::milliseconds(1001));
  EXPECT_EQ(dispatched(), (Inputs{1, 2, 3}));
  EXPECT_EQ(all<DispatchInput>().back().batch, (BatchPlace{InputId{1}, 2, 3}));
  fail(1, container, 2);
  fail(2, container, 2);
  EXPECT_EQ(all<AnswerInput>().size(), 2u);  // no attempt is left to them
}

TEST_F(Batches, OneFailsAloneWithoutItsNeighbours) {
  const ContainerId container = running_batch(batched(2, 100), 2);
  fail(1, container);
  EXPECT_EQ(only<AnswerInput>().outcome, InputOutcome::failed);
  finish(2, container);
  EXPECT_EQ(only<AnswerInput>().outcome, InputOutcome::succeeded);
}

TEST_F(Batches, ShareTheExecuteTimeEqually) {
  const ContainerId container = running_batch(batched(4, 100), 4);
  after(Duration::milliseconds(80));
  forget();
  for (std::uint64_t input = 1; input <= 4; ++input) finish(input, container);
  Duration sum;
  for (const AnswerInput& one : all<AnswerInput>()) {
    EXPECT_EQ(one.report.execute_share, all<AnswerInput>().front().report.execute_share);
    sum += one.report.execute_share;
  }
  EXPECT_EQ(sum, all<AnswerInput>().front().report.finished - Time::from_ms(1'000'000));
}

TEST_F(Batches, AreGatheredAnewWhereTheirContainerIsLost) {
  const ContainerId container = running_batch(batched(3, 100), 3);
  cancel(2);
  forget();
  send(NodeLost{kNode});
  EXPECT_TRUE(all<FailInput>().empty());
  EXPECT_EQ(pool().waiting, 2u);
  join();
  const ContainerId next = only<StartContainer>().container;
  EXPECT_NE(next, container);
  bring_up(next);
  pass(Duration::milliseconds(100));
  EXPECT_EQ(dispatched(), (Inputs{1, 3}));
  EXPECT_EQ(all<DispatchInput>().back().batch, (BatchPlace{InputId{1}, 2, 2}));
}

TEST_F(Batches, NobodyIsWaitedForWhereNoneFollows) {
  idle_container(batched(8, 60'000));
  arrive(1);
  deploy(settings(), PoolId{2});
  pass(Duration{});
  EXPECT_EQ(dispatched(), (Inputs{1}));
}

TEST_F(Batches, AContainerKeptForWhatGathersIsGivenToNoOtherVersion) {
  const ContainerId container = idle_container(batched(8, 1000));
  arrive(1);
  FunctionSettings settings = batched(8, 1000);
  settings.scaling.min_containers = 1;
  forget();
  send(PoolAdded{kApp, {PoolId{2}, kFunction, settings}});
  arrive(2, PoolId{2});
  EXPECT_TRUE(all<StopContainer>().empty());
  pass(Duration::milliseconds(1000));
  EXPECT_EQ(dispatched(), (Inputs{1}));
  finish(1, container);
  EXPECT_EQ(only<StopContainer>().container, container);
}

TEST_F(Batches, OfOneAreBatchesToo) {
  idle_container(batched(1, 1000));
  arrive(1);
  EXPECT_EQ(only<DispatchInput>().batch, (BatchPlace{InputId{1}, 1, 1}));
}

}  // namespace
}  // namespace ember
