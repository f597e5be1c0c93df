// Attempts that fail by the function's own doing are followed by others; what never starts expires.
#include "engine/engine_fixture.h"

namespace ember {
namespace {

class RetriedInputs : public EngineFixture {
 protected:
  void SetUp() override { join(); }

  static FunctionSettings retried(std::uint32_t times) {
    FunctionSettings result;
    result.retries = {.max_retries = times,
                      .initial_delay = Duration::seconds(1),
                      .backoff_permille = 2000,
                      .max_delay = Duration::seconds(3)};
    return result;
  }
  void fail(std::uint64_t input, ContainerId container, Attempt attempt) {
    send(InputFinished{InputId{input}, attempt, container, InputOutcome::failed});
  }
};

TEST_F(RetriedInputs, RunAgainAfterDelaysThatGrowUntilTheirRetriesAreUsedUp) {
  deploy(retried(3));
  const ContainerId container = running_container(1);
  Attempt attempt = 1;
  for (const std::int64_t delay_s : {1, 2, 3}) {
    after(Duration::milliseconds(5));
    fail(1, container, attempt);
    EXPECT_TRUE(all<AnswerInput>().empty());
    EXPECT_EQ(only<RetryInput>().due, now_ + Duration::seconds(delay_s));
    EXPECT_EQ(only<RetryInput>().report.execute_share, Duration::milliseconds(5));
    EXPECT_EQ(engine_.explain(InputId{1}),
              (Reason{ReasonCode::waiting_to_retry, attempt, 1000 * delay_s}));
    EXPECT_EQ(pool().delayed, 1u);
    pass(Duration::seconds(delay_s));
    EXPECT_EQ(only<DispatchInput>().attempt, ++attempt);
  }
  fail(1, container, attempt);
  EXPECT_EQ(only<AnswerInput>().outcome, InputOutcome::failed);
  EXPECT_TRUE(all<RetryInput>().empty());
}

TEST_F(RetriedInputs, AreNotRunAgainWhereTheRunnerRefusedThemOrTheyWereCancelled) {
  deploy(retried(3));
  const ContainerId container = running_container(1);
  send(InputFinished{InputId{1}, 1, container, InputOutcome::refused});
  EXPECT_EQ(only<AnswerInput>().outcome, InputOutcome::refused);
  arrive(2);
  send(InputFinished{InputId{2}, 1, container, InputOutcome::cancelled});
  EXPECT_EQ(only<AnswerInput>().outcome, InputOutcome::cancelled);
}

TEST_F(RetriedInputs, GiveTheirSlotToOthersWhileTheyAreDelayed) {
  deploy(retried(1));
  const ContainerId container = running_container(1);
  fail(1, container, 1);
  arrive(2);
  EXPECT_EQ(only<DispatchInput>().input, InputId{2});
  pass(Duration::seconds(1));
  finish(2, container);
  EXPECT_EQ(only<DispatchInput>().input, InputId{1});
}

TEST_F(RetriedInputs, ThatTimedOutRunAgainOnceTheRunnerHasLetGo) {
  FunctionSettings settings = retried(1);
  settings.timeout = Duration::seconds(5);
  deploy(settings);
  const ContainerId container = running_container(1);
  forget();
  pass(Duration::seconds(5));
  EXPECT_EQ(only<RetryInput>().code, ErrorCode::timed_out);
  EXPECT_EQ(only<CancelInput>().input, InputId{1});
  EXPECT_TRUE(all<FailInput>().empty());
  pass(Duration::milliseconds(1500));  // its delay is over, and it still holds its slot
  EXPECT_TRUE(all<DispatchInput>().empty());
  send(InputFinished{InputId{1}, 1, container, InputOutcome::cancelled});
  pass(Duration::milliseconds(1));
  EXPECT_EQ(only<DispatchInput>().attempt, 2);
}

TEST_F(RetriedInputs, OutliveACrashOfTheirOwnMaking) {
  deploy(retried(1));
  const ContainerId container = running_container(1);
  exited(container, ExitCause::crashed);
  EXPECT_EQ(only<RetryInput>().code, ErrorCode::container_crashed);
  EXPECT_EQ(only<RetryInput>().report.container, container);
  forget();
  pass(Duration::seconds(1));
  const ContainerId next = only<StartContainer>().container;
  bring_up(next);
  exited(next, ExitCause::crashed);
  EXPECT_EQ(only<FailInput>().code, ErrorCode::container_crashed);
}

TEST_F(RetriedInputs, EndWithTheirAttemptOnceTheyArePinned) {
  FunctionSettings settings = retried(3);
  settings.timeout = Duration::seconds(5);
  deploy(settings);
  ContainerId container = running_container(1);
  send(InputPinned{InputId{1}, 1, container});
  fail(1, container, 1);
  EXPECT_EQ(only<AnswerInput>().outcome, InputOutcome::failed);
  EXPECT_TRUE(all<RetryInput>().empty());

  arrive(2);
  send(InputPinned{InputId{2}, 1, container});
  pass(Duration::seconds(5));
  EXPECT_EQ(only<FailInput>().code, ErrorCode::timed_out);
  EXPECT_TRUE(all<RetryInput>().empty());
  send(InputFinished{InputId{2}, 1, container, InputOutcome::cancelled});

  arrive(3);
  send(InputPinned{InputId{3}, 1, container});
  exited(container, ExitCause::crashed);
  EXPECT_EQ(only<FailInput>().code, ErrorCode::container_crashed);
  EXPECT_TRUE(all<RetryInput>().empty());
  forget();
  pass(Duration::seconds(10));
  EXPECT_TRUE(all<DispatchInput>().empty());
}

TEST_F(RetriedInputs, ArePinnedByTheAttemptThatRunsAlone) {
  FunctionSettings settings = retried(1);
  settings.timeout = Duration::seconds(5);
  deploy(settings);
  const ContainerId container = running_container(1);
  pass(Duration::seconds(5));
  EXPECT_EQ(only<RetryInput>().code, ErrorCode::timed_out);
  send(InputPinned{InputId{1}, 1, container});  // it has not heard yet that its time was over
  send(InputFinished{InputId{1}, 1, container, InputOutcome::cancelled});
  pass(Duration::seconds(1));
  EXPECT_EQ(only<DispatchInput>().attempt, 2);
  fail(1, container, 2);
  EXPECT_EQ(only<AnswerInput>().outcome, InputOutcome::failed);
}

TEST_F(RetriedInputs, UseNoRetryUpWhereTheirNodeIsLost) {
  deploy(retried(1));
  running_container(1);
  send(NodeLost{kNode});
  EXPECT_TRUE(all<RetryInput>().empty());
  EXPECT_EQ(pool().waiting, 1u);
}

TEST_F(RetriedInputs, CanBeCancelledWhileTheyAreDelayed) {
  deploy(retried(1));
  const ContainerId container = running_container(1);
  fail(1, container, 1);
  send(InputCancelled{InputId{1}});
  EXPECT_EQ(only<FailInput>().code, ErrorCode::cancelled);
  forget();
  pass(Duration::seconds(10));
  EXPECT_TRUE(all<DispatchInput>().empty());
}

TEST_F(RetriedInputs, CanBeCancelledBeforeTheRunnerHasLetGo) {
  FunctionSettings settings = retried(1);
  settings.timeout = Duration::seconds(5);
  deploy(settings);
  const ContainerId container = running_container(1);
  pass(Duration::seconds(5));
  send(InputCancelled{InputId{1}});
  EXPECT_EQ(only<FailInput>().code, ErrorCode::cancelled);
  forget();
  send(InputFinished{InputId{1}, 1, container, InputOutcome::cancelled});
  pass(Duration::seconds(10));
  EXPECT_TRUE(all<DispatchInput>().empty());
  EXPECT_EQ(pool().running + pool().delayed + pool().waiting, 0u);
}

TEST_F(RetriedInputs, FailWithTheirAppAndAreFinishedByARetiredVersion) {
  deploy(retried(1));
  ContainerId container = running_container(1);
  fail(1, container, 1);
  deploy(retried(1), PoolId{2});
  EXPECT_TRUE(pool().retired);
  forget();
  pass(Duration::seconds(1));
  EXPECT_EQ(only<StartContainer>().pool, kPool);
  send(AppStopped{kApp});
  EXPECT_EQ(only<FailInput>().reason.code, ReasonCode::app_stopped);
}

TEST_F(RetriedInputs, FailAtOnceWithAnAppThatIsStopped) {
  deploy(retried(1));
  const ContainerId container = running_container(1);
  fail(1, container, 1);
  send(AppStopped{kApp});
  EXPECT_EQ(only<FailInput>().reason.code, ReasonCode::app_stopped);
}

class ExpiringInputs : public EngineFixture {
 protected:
  void SetUp() override {
    join();
    deploy({});
  }
  void arrive_for(std::uint64_t input, Duration time) {
    send(InputArrived{
        .input = InputId{input}, .call = CallId{input}, .pool = kPool, .expires = now_ + time});
  }
};

TEST_F(ExpiringInputs, FailWhereTheyHaveNotStartedInTime) {
  arrive_for(1, Duration::seconds(3));
  forget();
  pass(Duration::seconds(3));
  EXPECT_EQ(only<FailInput>().code, ErrorCode::timed_out);
  EXPECT_EQ(only<FailInput>().reason, (Reason{ReasonCode::expired, 3000}));
  EXPECT_EQ(pool().waiting, 0u);
}

TEST_F(ExpiringInputs, RunAsLongAsTheyLikeOnceTheyHaveStarted) {
  arrive_for(1, Duration::seconds(3));
  bring_up(only<StartContainer>().container);
  EXPECT_EQ(only<DispatchInput>().input, InputId{1});
  forget();
  pass(Duration::seconds(10));
  EXPECT_TRUE(all<FailInput>().empty());
}

TEST_F(ExpiringInputs, AreNotStartedWhereTheirTimeIsOverAlready) {
  arrive_for(1, Duration{});
  EXPECT_EQ(only<FailInput>().reason, (Reason{ReasonCode::expired, 0}));
  EXPECT_TRUE(all<StartContainer>().empty());
}

TEST_F(ExpiringInputs, AreNotRefusedForALimitWhereTheirPlaceWasPromised) {
  FunctionSettings settings;
  settings.scaling.queue_limit = 1;
  deploy(settings, PoolId{2});
  arrive(1, PoolId{2});
  arrive(2, PoolId{2});
  EXPECT_EQ(only<FailInput>().reason.code, ReasonCode::queue_full);
  send(InputArrived{
      .input = InputId{3}, .call = CallId{3}, .pool = PoolId{2}, .admission = Admission::granted});
  EXPECT_TRUE(all<FailInput>().empty());
  EXPECT_EQ(pool(PoolId{2}).waiting, 2u);
}

}  // namespace
}  // namespace ember
