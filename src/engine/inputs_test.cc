// The life of inputs: dispatch, turns, answers, cancellation, time-outs and what happens to them
// when their container ends.
#include <functional>

#include "engine/engine_fixture.h"

namespace ember {
namespace {

class Inputs : public EngineFixture {
 protected:
  void SetUp() override { join(); }

  static FunctionSettings concurrent(std::uint32_t max_inputs, std::uint32_t target) {
    FunctionSettings result;
    result.scaling.max_inputs = max_inputs;
    result.scaling.target_inputs = target;
    return result;
  }
  // One container that runs inputs 1 to n.
  ContainerId running_together(std::uint32_t n) {
    FunctionSettings together = concurrent(n, n);
    together.scaling.max_containers = 1;
    deploy(together);
    const ContainerId container = running_container(1);
    for (std::uint32_t input = 2; input <= n; ++input) arrive(input);
    return container;
  }
};

TEST_F(Inputs, StartAContainerFromZeroAndRunOnItOnceItIsReady) {
  deploy({});
  arrive(1);
  const auto start = only<StartContainer>();
  EXPECT_EQ(start.reason, (Reason{ReasonCode::demand, 1, 1}));
  EXPECT_EQ(engine_.explain(InputId{1}), (Reason{ReasonCode::waiting_for_start, 1, 0}));

  started(start.container);
  send(ContainerLoading{start.container});
  EXPECT_TRUE(all<DispatchInput>().empty());
  ready(start.container);
  EXPECT_EQ(only<DispatchInput>().container, start.container);
  EXPECT_EQ(only<DispatchInput>().attempt, 1);
  EXPECT_EQ(engine_.explain(InputId{1}), Reason{ReasonCode::running});

  after(Duration::milliseconds(7));
  finish(1, start.container);
  const auto answer = only<AnswerInput>();
  EXPECT_EQ(answer.input, InputId{1});
  EXPECT_EQ(answer.report.container, start.container);
  EXPECT_TRUE(answer.report.cold);
  EXPECT_EQ(answer.report.execute_share, Duration::milliseconds(7));
  EXPECT_EQ(answer.report.finished - answer.report.dispatched, Duration::milliseconds(7));
  EXPECT_EQ(engine_.explain(InputId{1}), std::nullopt);
}

TEST_F(Inputs, GoAtOnceToAWarmContainer) {
  deploy({});
  const ContainerId container = running_container(1);
  finish(1, container);
  arrive(2);
  EXPECT_EQ(only<DispatchInput>().container, container);
  EXPECT_TRUE(all<StartContainer>().empty());
  finish(2, container);
  EXPECT_FALSE(only<AnswerInput>().report.cold);
}

TEST_F(Inputs, ThatWaitedForASlotOfAWarmContainerAreNotCold) {
  FunctionSettings one;
  one.scaling.max_containers = 1;
  deploy(one);
  const ContainerId container = running_container(1);
  after(Duration::seconds(1));
  arrive(2);
  EXPECT_EQ(engine_.explain(InputId{2}), (Reason{ReasonCode::waiting_for_slot, 1, 0}));
  arrive(3);
  EXPECT_EQ(engine_.explain(InputId{3}), (Reason{ReasonCode::waiting_for_slot, 1, 1}));
  finish(1, container);
  EXPECT_EQ(only<DispatchInput>().input, InputId{2});
  finish(2, container);
  EXPECT_FALSE(only<AnswerInput>().report.cold);
}

TEST_F(Inputs, PackOneContainerToItsTargetAndSpreadBeyondIt) {
  FunctionSettings two = concurrent(4, 2);
  two.scaling.min_containers = two.scaling.max_containers = 2;
  deploy(two);
  const auto starts = all<StartContainer>();
  ASSERT_EQ(starts.size(), 2u);
  const ContainerId a = starts[0].container, b = starts[1].container;
  bring_up(b);
  bring_up(a);
  std::vector<ContainerId> order;
  for (int input = 1; input <= 8; ++input) {
    arrive(input);
    order.push_back(only<DispatchInput>().container);
  }
  EXPECT_EQ(order, (std::vector{a, a, b, b, a, b, a, b}));
  arrive(9);
  EXPECT_TRUE(all<DispatchInput>().empty());
}

TEST_F(Inputs, OfAllCallersTakeTurnsForASlot) {
  constexpr KeyId kAda{7}, kBob{8};
  FunctionSettings one;
  one.scaling.max_containers = 1;
  deploy(one);
  const ContainerId container = running_container(1);
  for (const std::uint64_t input : {2, 3, 4}) arrive(input, kPool, kAda);
  for (const std::uint64_t input : {5, 6}) arrive(input, kPool, kBob);
  EXPECT_EQ(engine_.explain(InputId{6})->b, 3);  // two of Ada's and one of Bob's are before it
  std::vector<std::uint64_t> order;
  for (std::uint64_t running = 1; order.size() < 5;) {
    finish(running, container);
    running = only<DispatchInput>().input.value;
    order.push_back(running);
  }
  EXPECT_EQ(order, (std::vector<std::uint64_t>{2, 5, 3, 6, 4}));
}

TEST_F(Inputs, ForAnUnknownPoolAreAnsweredNotLost) {
  arrive(1, PoolId{99});
  EXPECT_EQ(only<FailInput>().code, ErrorCode::cancelled);
  EXPECT_EQ(only<FailInput>().reason, Reason{ReasonCode::app_stopped});
}

TEST_F(Inputs, ThatArriveTwiceRunOnce) {
  deploy({});
  const ContainerId container = running_container(1);
  arrive(1);
  EXPECT_TRUE(actions_.empty());
  finish(1, container);
  EXPECT_EQ(all<AnswerInput>().size(), 1u);
  finish(1, container);
  EXPECT_TRUE(actions_.empty());
}

TEST_F(Inputs, CancelledWhileTheyWaitFailAtOnceAndNeverRun) {
  deploy({});
  arrive(1);
  const ContainerId container = only<StartContainer>().container;
  arrive(2);
  send(InputCancelled{InputId{1}});
  EXPECT_EQ(only<FailInput>().code, ErrorCode::cancelled);
  EXPECT_EQ(only<FailInput>().reason, Reason{ReasonCode::caller_cancelled});
  bring_up(container);
  EXPECT_EQ(only<DispatchInput>().input, InputId{2});
  send(InputCancelled{InputId{77}});
  EXPECT_TRUE(actions_.empty());
}

TEST_F(Inputs, CancelledWhileTheyRunKeepTheSlotUntilTheRunnerLetsGo) {
  FunctionSettings one;
  one.scaling.max_containers = 1;
  deploy(one);
  const ContainerId container = running_container(1);
  arrive(2);
  send(InputCancelled{InputId{1}});
  EXPECT_EQ(only<FailInput>().reason, Reason{ReasonCode::caller_cancelled});
  EXPECT_EQ(only<CancelInput>().container, container);
  EXPECT_TRUE(all<DispatchInput>().empty());
  send(InputCancelled{InputId{1}});  // told twice
  EXPECT_TRUE(actions_.empty());
  after(Duration::seconds(1));
  send(InputFinished{InputId{1}, 1, container, InputOutcome::cancelled});
  EXPECT_TRUE(all<AnswerInput>().empty());
  EXPECT_EQ(only<DispatchInput>().input, InputId{2});
  pass(Duration::seconds(5));
  EXPECT_TRUE(all<StopContainer>().empty());
}

TEST_F(Inputs, ThatDoNotEndAfterACancellationCostTheirContainer) {
  const ContainerId container = running_together(2);
  send(InputCancelled{InputId{1}});
  forget();
  pass(Duration::seconds(2));
  const auto stop = only<StopContainer>();
  EXPECT_EQ(stop.container, container);
  EXPECT_EQ(stop.mode, StopMode::kill);
  EXPECT_EQ(stop.reason, Reason{ReasonCode::cancelled});
  // The neighbour waits again and runs elsewhere, however often that happens.
  EXPECT_EQ(pool().waiting, 1u);
  exited(container, ExitCause::stopped);
  const ContainerId next = only<StartContainer>().container;
  bring_up(next);
  EXPECT_EQ(only<DispatchInput>().input, InputId{2});
  EXPECT_EQ(only<DispatchInput>().attempt, 2);
  EXPECT_TRUE(all<FailInput>().empty());
}

TEST_F(Inputs, OverTheTimeoutFailAtTheDeadlineCountedFromDispatch) {
  FunctionSettings quick;
  quick.timeout = Duration::seconds(10);
  deploy(quick);
  arrive(1);
  const ContainerId container = only<StartContainer>().container;
  pass(Duration::seconds(60));  // starting does not count
  bring_up(container);
  forget();
  pass(Duration::seconds(10) - Duration::microseconds(1));
  EXPECT_TRUE(all<FailInput>().empty());
  pass(Duration::microseconds(1));
  const auto failure = only<FailInput>();
  EXPECT_EQ(failure.code, ErrorCode::timed_out);
  EXPECT_EQ(failure.reason, (Reason{ReasonCode::execution_timed_out, 10'000}));
  EXPECT_EQ(failure.container, container);
  EXPECT_EQ(failure.report.execute_share, Duration::seconds(10));
  EXPECT_EQ(only<CancelInput>().input, InputId{1});
  pass(Duration::seconds(2));
  EXPECT_EQ(only<StopContainer>().reason, Reason{ReasonCode::timed_out});
}

TEST_F(Inputs, AnsweredJustBeforeTheDeadlineAreNotTimedOut) {
  FunctionSettings quick;
  quick.timeout = Duration::seconds(10);
  deploy(quick);
  const ContainerId container = running_container(1);
  after(Duration::seconds(10) - Duration::microseconds(1));
  finish(1, container);
  EXPECT_EQ(all<AnswerInput>().size(), 1u);
  forget();
  pass(Duration::seconds(20));
  EXPECT_TRUE(all<FailInput>().empty());
}

TEST_F(Inputs, EachHaveTheirOwnDeadline) {
  FunctionSettings quick = concurrent(2, 2);
  quick.timeout = Duration::seconds(10);
  deploy(quick);
  const ContainerId container = running_container(1);
  pass(Duration::seconds(4));
  arrive(2);
  forget();
  pass(Duration::seconds(6));
  EXPECT_EQ(only<FailInput>().input, InputId{1});
  finish(1, container);
  forget();
  pass(Duration::seconds(4));
  EXPECT_EQ(all<FailInput>().back().input, InputId{2});
}

TEST_F(Inputs, IgnoreResultsOfStaleAttemptsAndOtherContainers) {
  deploy({});
  const ContainerId lost = running_container(1);
  exited(lost, ExitCause::stopped);
  const ContainerId next = only<StartContainer>().container;
  finish(1, lost, 1);  // while it waits again
  EXPECT_TRUE(actions_.empty());
  bring_up(next);
  EXPECT_EQ(only<DispatchInput>().attempt, 2);
  finish(1, lost, 1);
  finish(1, next, 1);
  finish(1, lost, 2);
  EXPECT_TRUE(actions_.empty());
  finish(1, next, 2);
  EXPECT_EQ(only<AnswerInput>().report.attempt, 2);
}

TEST_F(Inputs, AloneOnAContainerThatEndsByItselfFail) {
  struct Case {
    ExitCause cause;
    ErrorCode code;
    Reason reason;
  };
  deploy({});
  std::uint64_t input = 0;
  for (const Case& c :
       {Case{ExitCause::crashed, ErrorCode::container_crashed, {ReasonCode::container_crashed}},
        Case{ExitCause::out_of_memory,
             ErrorCode::out_of_memory,
             {ReasonCode::container_out_of_memory, settings().resources.memory_bytes}}}) {
    const ContainerId container = running_container(++input);
    exited(container, c.cause);
    EXPECT_EQ(only<FailInput>().code, c.code);
    EXPECT_EQ(only<FailInput>().reason, c.reason);
    EXPECT_EQ(only<FailInput>().container, container);
    EXPECT_EQ(only<ReleaseContainer>().cause, c.cause);
    EXPECT_TRUE(all<StartContainer>().empty());
  }
}

TEST_F(Inputs, TogetherOnACrashedContainerRunAgainUntilTheyHaveLostTooOften) {
  ContainerId container = running_together(2);
  for (Attempt attempt = 1; attempt <= 2; ++attempt) {
    exited(container, ExitCause::crashed);
    EXPECT_TRUE(all<FailInput>().empty());
    container = only<StartContainer>().container;
    bring_up(container);
    const auto dispatched = all<DispatchInput>();
    ASSERT_EQ(dispatched.size(), 2u);
    EXPECT_EQ(dispatched[0].input, InputId{1});
    EXPECT_EQ(dispatched[1].attempt, attempt + 1);
  }
  exited(container, ExitCause::crashed);
  const auto failures = all<FailInput>();
  ASSERT_EQ(failures.size(), 2u);
  EXPECT_EQ(failures[0].reason, (Reason{ReasonCode::container_lost_repeatedly, 3}));
  EXPECT_EQ(failures[0].code, ErrorCode::container_crashed);
}

TEST_F(Inputs, OfALostNodeRunAgainInTheirOldOrderWithoutCharge) {
  const ContainerId container = running_together(3);
  arrive(4);
  for (int times = 0; times < 10; ++times) {
    send(NodeLost{kNode});
    EXPECT_EQ(only<ReleaseContainer>().cause, ExitCause::node_lost);
    EXPECT_TRUE(all<FailInput>().empty());
    join();
    bring_up(only<StartContainer>().container);
    const auto dispatched = all<DispatchInput>();
    ASSERT_EQ(dispatched.size(), 3u);
    for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(dispatched[i].input, InputId{i + 1});
  }
  exited(container, ExitCause::stopped);  // the first one, long settled
  EXPECT_TRUE(actions_.empty());
}

// What the caller has seen a part of must not begin anew.
TEST_F(Inputs, ThatArePinnedFailWhereOthersRunAgain) {
  const auto lose_node = [this](ContainerId) { send(NodeLost{kNode}); };
  const auto kill = [this](ContainerId id) { send(ContainerUnwanted{id, StopWanted::now}); };
  const auto crash = [this](ContainerId id) { exited(id, ExitCause::crashed); };
  const auto stop = [this](ContainerId id) { exited(id, ExitCause::stopped); };
  for (const std::function<void(ContainerId)>& lose :
       std::vector<std::function<void(ContainerId)>>{lose_node, kill, crash, stop}) {
    engine_ = Engine{EngineOptions{}};
    join();
    const ContainerId container = running_together(2);
    after(Duration::milliseconds(5));
    send(InputPinned{InputId{1}, 1, container});
    EXPECT_TRUE(actions_.empty());
    lose(container);
    const auto failure = only<FailInput>();
    EXPECT_EQ(failure.input, InputId{1});
    EXPECT_EQ(failure.code, ErrorCode::container_crashed);
    EXPECT_EQ(failure.reason, Reason{ReasonCode::container_lost_pinned});
    EXPECT_EQ(failure.container, container);
    EXPECT_EQ(failure.report.execute_share, Duration::microseconds(2'500));
    EXPECT_EQ(engine_.explain(InputId{1}), std::nullopt);
    EXPECT_NE(engine_.explain(InputId{2}), std::nullopt);
  }
}

TEST_F(Inputs, ThatArePinnedStillPayForTheirOwnMemory) {
  deploy({});
  const ContainerId container = running_container(1);
  send(InputPinned{InputId{1}, 1, container});
  exited(container, ExitCause::out_of_memory);
  EXPECT_EQ(only<FailInput>().code, ErrorCode::out_of_memory);
}

TEST_F(Inputs, ArePinnedByTheirCurrentAttemptAlone) {
  ContainerId container = running_together(2);
  send(InputPinned{InputId{1}, 2, container});
  send(InputPinned{InputId{1}, 1, ContainerId{99}});
  send(InputPinned{InputId{7}, 1, container});
  exited(container, ExitCause::stopped);
  EXPECT_TRUE(all<FailInput>().empty());
  const ContainerId next = only<StartContainer>().container;
  bring_up(next);
  send(InputPinned{InputId{1}, 1, container});
  exited(next, ExitCause::stopped);
  EXPECT_TRUE(all<FailInput>().empty());
}

TEST_F(Inputs, OfAStoppedAppAreCancelledAndItsContainersStop) {
  FunctionSettings two;
  two.scaling.max_containers = 2;
  deploy(two);
  const ContainerId container = running_container(1);
  arrive(2);
  const ContainerId starting = only<StartContainer>().container;
  arrive(3);
  send(AppStopped{kApp});
  const auto failures = all<FailInput>();
  ASSERT_EQ(failures.size(), 3u);
  for (const FailInput& failure : failures) {
    EXPECT_EQ(failure.code, ErrorCode::cancelled);
    EXPECT_EQ(failure.reason, Reason{ReasonCode::app_stopped});
  }
  EXPECT_EQ(only<CancelInput>().input, InputId{1});
  EXPECT_EQ(only<StopContainer>().container, starting);
  finish(1, container);
  EXPECT_EQ(only<StopContainer>().reason, Reason{ReasonCode::app_stopped});
  EXPECT_EQ(only<StopContainer>().mode, StopMode::graceful);
  arrive(4);
  EXPECT_EQ(only<FailInput>().reason, Reason{ReasonCode::app_stopped});
  exited(container, ExitCause::stopped);
  exited(starting, ExitCause::stopped);
  EXPECT_TRUE(engine_.pools().empty());
  send(AppStopped{kApp});
  EXPECT_TRUE(actions_.empty());
}

TEST_F(Inputs, ShareTheExecuteTimeOfTheirContainerToTheMicrosecond) {
  FunctionSettings together = concurrent(3, 3);
  deploy(together);
  const ContainerId container = running_container(1);
  after(Duration::microseconds(1000));
  arrive(2);
  after(Duration::microseconds(1001));
  arrive(3);
  after(Duration::microseconds(1000));
  finish(2, container);
  EXPECT_EQ(only<AnswerInput>().report.execute_share.us, 500 + 333);
  finish(1, container);
  EXPECT_EQ(only<AnswerInput>().report.execute_share.us, 1000 + 500 + 333);
  after(Duration::microseconds(10));
  finish(3, container);
  // What the divisions left over is with the last: 3011 in all.
  EXPECT_EQ(only<AnswerInput>().report.execute_share.us, 3011 - 833 - 1833);
}

}  // namespace
}  // namespace ember
