// Containers: starts that fail, are refused or never end, messages out of order, adoption, and what
// their lives cost.
#include <algorithm>
#include <optional>

#include "engine/engine_fixture.h"

namespace ember {
namespace {

class Containers : public EngineFixture {
 protected:
  void SetUp() override { join(); }

  // Rows of CPU, which every container has, in order of time.
  std::vector<UsageRow> cpu_rows(ContainerId container) const {
    std::vector<UsageRow> rows;
    for (const UsageRow& row : rows_) {
      if (row.container == container && row.meter == Meter::cpu) rows.push_back(row);
    }
    return rows;
  }
  std::int64_t ms_in(ContainerId container, Phase phase) const {
    std::int64_t ms = 0;
    for (const UsageRow& row : cpu_rows(container)) ms += row.phase == phase ? row.quantity : 0;
    return ms;
  }
  // The bytes of its egress rows, all or of one phase.
  std::int64_t egress(ContainerId container, std::optional<Phase> phase = std::nullopt) const {
    std::int64_t bytes = 0;
    for (const UsageRow& row : rows_) {
      if (row.container != container || row.meter != Meter::egress) continue;
      if (!phase || row.phase == *phase) bytes += row.quantity;
    }
    return bytes;
  }
};

TEST_F(Containers, ThatFailToStartAreTriedAgainAfterABackoffThatDoubles) {
  deploy({});
  arrive(1);
  ContainerId container = only<StartContainer>().container;
  for (const std::int64_t wait_ms : {500, 1000}) {
    started(container);
    exited(container, ExitCause::crashed);
    EXPECT_TRUE(all<StartContainer>().empty());
    EXPECT_EQ(engine_.explain(InputId{1})->code, ReasonCode::waiting_for_backoff);
    EXPECT_EQ(engine_.explain(InputId{1})->b, wait_ms);
    forget();
    pass(Duration::milliseconds(wait_ms) - Duration::microseconds(1));
    EXPECT_TRUE(all<StartContainer>().empty());
    pass(Duration::microseconds(1));
    container = only<StartContainer>().container;
    accumulate_ = false;
  }
  exited(container, ExitCause::load_failed);
  EXPECT_EQ(only<FailInput>().code, ErrorCode::start_failed);
  EXPECT_EQ(only<FailInput>().reason, (Reason{ReasonCode::start_failed_repeatedly, 3}));
  EXPECT_EQ(only<FailInput>().container, container);

  arrive(2);  // the next one tries again, after the backoff
  EXPECT_TRUE(all<StartContainer>().empty());
  forget();
  pass(Duration::seconds(2));
  container = only<StartContainer>().container;
  accumulate_ = false;
  bring_up(container);
  EXPECT_EQ(only<DispatchInput>().input, InputId{2});
  EXPECT_EQ(pool().failed_starts, 0u);
}

TEST_F(Containers, AfterAFailureOneTriesForAllAndItsSuccessLetsTheOthersFollow) {
  deploy({});
  for (int input = 1; input <= 3; ++input) arrive(input);
  const auto views = engine_.containers();
  ASSERT_EQ(views.size(), 3u);
  for (const auto& view : views) exited(view.container, ExitCause::stopped);
  EXPECT_EQ(all<FailInput>().size(), 3u);
  for (int input = 4; input <= 6; ++input) arrive(input);
  forget();
  pass(Duration::seconds(2));
  const ContainerId probe = only<StartContainer>().container;
  accumulate_ = false;
  started(probe);
  ready(probe);
  EXPECT_EQ(all<StartContainer>().size(), 2u);
}

TEST_F(Containers, ThatAreNotReadyInTimeAreKilledAsFailedStarts) {
  FunctionSettings impatient;
  impatient.startup_timeout = Duration::seconds(20);
  deploy(impatient);
  arrive(1);
  const ContainerId container = only<StartContainer>().container;
  started(container);
  forget();
  pass(Duration::seconds(20));
  EXPECT_EQ(only<StopContainer>().mode, StopMode::kill);
  EXPECT_EQ(only<StopContainer>().reason, (Reason{ReasonCode::startup_timed_out, 20'000}));
  EXPECT_EQ(pool().failed_starts, 1u);
  accumulate_ = false;
  exited(container, ExitCause::stopped);
  EXPECT_EQ(pool().failed_starts, 1u);  // counted once
}

TEST_F(Containers, ThatEndIdleAreNotStartedAgainWithoutAPause) {
  FunctionSettings warm;
  warm.scaling.min_containers = 1;
  deploy(warm);
  const ContainerId container = only<StartContainer>().container;
  bring_up(container);
  exited(container, ExitCause::crashed);
  EXPECT_TRUE(all<StartContainer>().empty());
  forget();
  pass(Duration::milliseconds(500));
  EXPECT_EQ(only<StartContainer>().reason, (Reason{ReasonCode::min_containers, 1}));
}

TEST_F(Containers, RefusedByOneNodeGoToAnotherFirst) {
  join(NodeId{2});
  deploy({});
  arrive(1);
  EXPECT_EQ(only<StartContainer>().node, NodeId{1});
  send(ContainerRefused{only<StartContainer>().container});
  EXPECT_EQ(all<ReleaseContainer>().size(), 1u);
  EXPECT_EQ(only<StartContainer>().node, NodeId{2});
  EXPECT_EQ(pool().failed_starts, 0u);
}

TEST_F(Containers, RefusedForGoodCountAsFailedStarts) {
  deploy({});
  arrive(1);
  for (int refusals = 1; refusals < 3; ++refusals) {
    send(ContainerRefused{all<StartContainer>().back().container, Refusal::lasting});
    EXPECT_EQ(engine_.explain(InputId{1})->code, ReasonCode::waiting_for_backoff);
    forget();
    pass(Duration::seconds(1));
    accumulate_ = false;
  }
  send(ContainerRefused{only<StartContainer>().container, Refusal::lasting});
  EXPECT_EQ(only<FailInput>().code, ErrorCode::start_failed);
  EXPECT_EQ(only<FailInput>().reason, (Reason{ReasonCode::start_failed_repeatedly, 3}));
}

TEST_F(Containers, RefusedByAllNodesWaitAndAreGivenUpInTheEnd) {
  deploy({});
  arrive(1);
  send(ContainerRefused{only<StartContainer>().container});
  EXPECT_TRUE(all<StartContainer>().empty());
  EXPECT_EQ(engine_.explain(InputId{1}), (Reason{ReasonCode::waiting_after_refusal, 1, 500}));
  const Time begin = now_;
  for (int refusals = 1; refusals < 10; ++refusals) {
    forget();
    while (all<StartContainer>().empty()) pass(engine_.next_deadline() - now_);
    accumulate_ = false;
    send(ContainerRefused{actions_.empty() ? ContainerId{}
                                           : all<StartContainer>().back().container});
  }
  EXPECT_EQ(only<FailInput>().reason, (Reason{ReasonCode::start_refused_repeatedly, 10}));
  EXPECT_GT(now_ - begin, Duration::seconds(60));
}

TEST_F(Containers, AskANodeAtOnceThatIsToldOfAnew) {
  deploy({});
  arrive(1);
  send(ContainerRefused{only<StartContainer>().container});
  EXPECT_TRUE(all<StartContainer>().empty());
  join();
  EXPECT_EQ(all<StartContainer>().size(), 1u);
}

TEST_F(Containers, AcceptReadyBeforeTheNodesConfirmation) {
  deploy({});
  arrive(1);
  const ContainerId container = only<StartContainer>().container;
  ready(container);
  EXPECT_TRUE(all<DispatchInput>().empty());
  started(container);
  EXPECT_EQ(only<DispatchInput>().container, container);
}

TEST_F(Containers, IgnoreWhatIsRepeatedLateOrUnknown) {
  deploy({});
  const ContainerId container = running_container(1);
  const auto hash = engine_.state_hash();
  for (const Event& event :
       {Event{ContainerStarted{container, now_}}, Event{ContainerLoading{container}},
        Event{ContainerReady{container}}, Event{ContainerRefused{container}},
        Event{ContainerStarted{ContainerId{99}, now_}}, Event{ContainerReady{ContainerId{99}}},
        Event{ContainerRefused{ContainerId{99}}},
        Event{ContainerExited{ContainerId{99}, now_, ExitCause::crashed}},
        Event{NodeLost{NodeId{99}}}, Event{AppStopped{AppId{99}}},
        Event{InputFinished{InputId{99}, 1, container, InputOutcome::succeeded}},
        Event{AppDeployed{kApp, {{kPool, kFunction, {}}}}}, Event{TimerDue{}}}) {
    send(event);
    EXPECT_TRUE(actions_.empty());
    EXPECT_EQ(engine_.state_hash(), hash) << event.index();
  }
}

TEST_F(Containers, ThatDoNotStopWhenAskedAreKilledAgainAndAgain) {
  deploy({});
  const ContainerId container = running_container(1);
  finish(1, container);
  forget();
  pass(Duration::seconds(60));
  EXPECT_EQ(only<StopContainer>().mode, StopMode::graceful);
  for (int times = 0; times < 3; ++times) {
    forget();
    pass(Duration::seconds(30));
    EXPECT_EQ(only<StopContainer>().mode, StopMode::kill);
    EXPECT_EQ(only<StopContainer>().reason, (Reason{ReasonCode::idle_window_over, 60'000}));
  }
}

TEST_F(Containers, NeverGetAnInputOnceTheyAreStopping) {
  deploy({});
  const ContainerId container = running_container(1);
  finish(1, container);
  pass(Duration::seconds(60));
  arrive(2);
  EXPECT_TRUE(all<DispatchInput>().empty());
  EXPECT_NE(only<StartContainer>().container, container);
}

TEST_F(Containers, OnADeviceThatIsCordonedAreKilledAndTheirInputsRunElsewhere) {
  FunctionSettings gpu;
  gpu.resources.gpu.choices = {{"L4", 1}};
  Device sick{.id = DeviceId{1}, .type = "L4"};
  const Device well{.id = DeviceId{2}, .type = "L4"};
  join(kNode, {sick, well});
  deploy(gpu);
  const ContainerId first = running_container(1);
  sick.state = DeviceState::cordoned;
  join(kNode, {sick, well});
  EXPECT_EQ(only<StopContainer>().container, first);
  EXPECT_EQ(only<StopContainer>().mode, StopMode::kill);
  EXPECT_EQ(only<StopContainer>().reason, Reason{ReasonCode::device_cordoned});
  EXPECT_EQ(only<StartContainer>().devices, std::vector{well.id});
  const ContainerId second = only<StartContainer>().container;
  join(kNode, {sick, well});
  EXPECT_TRUE(all<StopContainer>().empty());
  bring_up(second);
  EXPECT_EQ(only<DispatchInput>().container, second);
  finish(1, second, 2);
  EXPECT_EQ(only<AnswerInput>().outcome, InputOutcome::succeeded);
}

TEST_F(Containers, OnADeviceThatOthersUseTooGoOnAndTheDeviceIsNotGivenOutAgain) {
  FunctionSettings gpu;
  gpu.resources.gpu.choices = {{"L4", 1}};
  Device device{.id = DeviceId{1}, .type = "L4"};
  join(kNode, {device});
  deploy(gpu);
  const ContainerId container = running_container(1);
  device.state = DeviceState::in_use;
  join(kNode, {device});
  EXPECT_TRUE(all<StopContainer>().empty());
  exited(container, ExitCause::crashed);
  arrive(2);
  EXPECT_EQ(engine_.explain(InputId{2})->code, ReasonCode::waiting_for_resources);
  device.state = DeviceState::available;
  join(kNode, {device});
  EXPECT_EQ(only<StartContainer>().devices, std::vector{device.id});
}

TEST_F(Containers, AdoptedOnACordonedDeviceAreKilled) {
  FunctionSettings gpu;
  gpu.resources.gpu.choices = {{"L4", 1}};
  const Device sick{.id = DeviceId{1}, .type = "L4", .state = DeviceState::cordoned};
  join(kNode, {sick});
  deploy(gpu);
  send(ContainerAdopted{ContainerId{77}, kPool, kNode, {sick.id}, now_, now_});
  EXPECT_EQ(only<StopContainer>().reason, Reason{ReasonCode::device_cordoned});
}

TEST_F(Containers, HoldTheirDevicesUntilTheNodeGivesThemBack) {
  join(kNode, {{DeviceId{1}, "L4", 0, true}});
  FunctionSettings gpu;
  gpu.resources.gpu.choices = {{"L4", 1}};
  deploy(gpu);
  const ContainerId container = running_container(1);
  arrive(2);
  EXPECT_TRUE(all<StartContainer>().empty());
  EXPECT_EQ(engine_.explain(InputId{2}), (Reason{ReasonCode::waiting_for_resources, 1}));
  EXPECT_EQ(engine_.nodes().front().holds, (std::vector{DeviceHold{DeviceId{1}, container}}));
  exited(container, ExitCause::crashed);
  EXPECT_EQ(only<StartContainer>().devices, std::vector{DeviceId{1}});
}

TEST_F(Containers, BillEachPhaseFromTheNodesStartToTheNodesEnd) {
  deploy({});
  arrive(1);
  const ContainerId container = only<StartContainer>().container;
  after(Duration::milliseconds(100));  // placed, not yet held
  started(container);
  after(Duration::milliseconds(30));
  send(ContainerLoading{container});
  after(Duration::milliseconds(200));
  ready(container);
  after(Duration::milliseconds(50));
  finish(1, container);
  after(Duration::milliseconds(1000));
  const Time end = now_;
  after(Duration::milliseconds(400));  // the message took its time
  send(ContainerExited{container, end, ExitCause::crashed});
  EXPECT_EQ(ms_in(container, Phase::boot), 30);
  EXPECT_EQ(ms_in(container, Phase::load), 200);
  EXPECT_EQ(ms_in(container, Phase::execute), 50);
  EXPECT_EQ(ms_in(container, Phase::idle), 1000);
  EXPECT_EQ(cpu_rows(container).front().units, FunctionSettings{}.resources.cpu_millicores);
}

TEST_F(Containers, AreRecordedInWindowsThatTileTheirLife) {
  FunctionSettings warm;
  warm.scaling.min_containers = 1;
  deploy(warm);
  const ContainerId container = only<StartContainer>().container;
  bring_up(container);
  const Time start = now_;
  pass(Duration::seconds(150));
  EXPECT_EQ(cpu_rows(container).size(), 2u);
  after(Duration::seconds(100));  // the driver was slow: two window ends have passed
  exited(container, ExitCause::stopped);
  Time covered = start;
  for (const UsageRow& row : cpu_rows(container)) {
    EXPECT_EQ(row.window_start, covered);
    EXPECT_LE(row.window_end - row.window_start, Duration::seconds(60));
    covered = row.window_end;
  }
  EXPECT_EQ(covered, now_);
}

TEST_F(Containers, TakeInNoTimeAfterAnEndThatLiesBeforeTheLastEvents) {
  deploy({});
  const ContainerId container = running_container(1);
  after(Duration::milliseconds(100));
  const Time end = now_;
  after(Duration::milliseconds(50));
  send(InputCancelled{InputId{99}});
  after(Duration::milliseconds(1));
  send(ContainerExited{container, end, ExitCause::crashed});
  EXPECT_EQ(ms_in(container, Phase::execute), 100);
  EXPECT_EQ(only<FailInput>().report.execute_share, Duration::milliseconds(100));
}

TEST_F(Containers, ClampTimesThatLieInTheFutureOrBeforeTheirPlacement) {
  deploy({});
  arrive(1);
  const ContainerId container = only<StartContainer>().container;
  const Time placed = now_;
  after(Duration::milliseconds(10));
  send(ContainerStarted{container, placed - Duration::seconds(3)});
  after(Duration::milliseconds(10));
  send(ContainerExited{container, now_ + Duration::seconds(9), ExitCause::stopped});
  const auto rows = cpu_rows(container);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows.front().window_start, placed);
  EXPECT_EQ(rows.front().window_end, now_);
}

TEST_F(Containers, PayForEachByteThatLeavesThemOnce) {
  deploy({});
  arrive(1);
  const ContainerId container = only<StartContainer>().container;
  send(EgressReported{container, 50});  // before the word of its start: the total comes again
  bring_up(container);
  send(EgressReported{container, 100});
  finish(1, container);
  send(EgressReported{container, 400});
  send(EgressReported{container, 400});
  send(EgressReported{container, 100});
  pass(Duration::seconds(59));
  EXPECT_EQ(egress(container), 0) << "it waits for its window";
  send(EgressReported{container, 401});
  pass(Duration::seconds(1));
  EXPECT_EQ(egress(container), 401);
  send(ContainerExited{container, now_, ExitCause::crashed, 500});
  EXPECT_EQ(egress(container, Phase::execute), 400);
  EXPECT_EQ(egress(container, Phase::idle), 100);
  send(EgressReported{container, 900});
  EXPECT_EQ(egress(container), 500) << "it has gone";
}

TEST_F(Containers, PayForEgressThatIsHeardOfAfterTheirLastWindow) {
  FunctionSettings warm;
  warm.scaling.min_containers = 1;
  deploy(warm);
  const ContainerId container = only<StartContainer>().container;
  bring_up(container);
  pass(Duration::seconds(59));
  const Time end = now_;
  pass(Duration::seconds(2));
  send(ContainerExited{container, end, ExitCause::crashed, 70});
  EXPECT_EQ(egress(container), 70);
  EXPECT_EQ(cpu_rows(container).size(), 1u);
  EXPECT_EQ(rows_.back().window_start, cpu_rows(container).back().window_end);
  EXPECT_EQ(rows_.back().window_end, rows_.back().window_start);
}

TEST_F(Containers, OfALostNodePayForTheEgressThatWasToldOf) {
  deploy({});
  const ContainerId container = running_container(1);
  send(EgressReported{container, 30});
  after(Duration::seconds(1));
  send(NodeLost{kNode});
  EXPECT_EQ(egress(container), 30);
}

TEST_F(Containers, AdoptedOnesPayForEgressBeyondWhatIsOnDisk) {
  deploy({});
  const ContainerId container{7};
  send(ContainerAdopted{container, kPool, kNode, {}, now_, now_, 1000});
  send(EgressReported{container, 900});
  send(EgressReported{container, 1200});
  after(Duration::seconds(1));
  exited(container, ExitCause::stopped);
  EXPECT_EQ(egress(container), 200);
}

TEST_F(Containers, ThatWereNeverConfirmedCostNothing) {
  deploy({});
  arrive(1);
  const ContainerId container = only<StartContainer>().container;
  after(Duration::seconds(1));
  exited(container, ExitCause::crashed);
  EXPECT_TRUE(rows_.empty());
  EXPECT_EQ(pool().failed_starts, 1u);
}

TEST_F(Containers, AdoptedOnesAreBusyUntilReadyAndBilledOnWithoutAGap) {
  deploy({});
  const ContainerId container{7};
  const Time billed = now_ - Duration::seconds(5);
  send(ContainerAdopted{container, kPool, kNode, {}, now_ - Duration::seconds(65), billed});
  EXPECT_EQ(engine_.container(container)->state, ContainerState::busy);
  arrive(1);
  EXPECT_TRUE(all<DispatchInput>().empty());
  after(Duration::seconds(1));
  ready(container);
  EXPECT_EQ(only<DispatchInput>().container, container);
  finish(1, container);
  exited(container, ExitCause::stopped);
  EXPECT_EQ(cpu_rows(container).front().window_start, billed);
  EXPECT_EQ(cpu_rows(container).back().window_end, now_);
}

TEST_F(Containers, AdoptedAfterTheirEndAreBilledToThatAndNoFurther) {
  deploy({});
  const ContainerId container{7};
  const Time began = now_ - Duration::seconds(600), ended = now_ - Duration::seconds(450);
  send(ContainerAdopted{container, kPool, kNode, {}, began, began, 0, ended});
  after(Duration::seconds(90));
  send(ContainerExited{container, ended, ExitCause::crashed, 0});
  EXPECT_EQ(cpu_rows(container).front().window_start, began);
  EXPECT_EQ(cpu_rows(container).back().window_end, ended);
  EXPECT_EQ(ms_in(container, Phase::idle), 150'000);
}

TEST_F(Containers, AdoptedOnesThatNeverSpeakAreKilledWithoutBlame) {
  FunctionSettings quick;
  quick.timeout = Duration::seconds(10);
  quick.startup_timeout = Duration::seconds(20);
  deploy(quick);
  send(ContainerAdopted{ContainerId{7}, kPool, kNode, {}, now_, now_});
  forget();
  pass(Duration::seconds(30));
  EXPECT_EQ(only<StopContainer>().reason.code, ReasonCode::startup_timed_out);
  EXPECT_EQ(pool().failed_starts, 0u);
}

TEST_F(Containers, AdoptedForAPoolThatIsGoneAreSeenOff) {
  send(ContainerAdopted{ContainerId{7}, kPool, kNode, {}, now_, now_});
  EXPECT_EQ(only<StopContainer>().reason, Reason{ReasonCode::retired});
  EXPECT_EQ(only<ReleaseContainer>().container, ContainerId{7});
}

TEST_F(Containers, AdoptedWithADeviceThatIsTakenAreKilled) {
  join(kNode, {{DeviceId{1}, "L4", 0, true}});
  FunctionSettings gpu;
  gpu.resources.gpu.choices = {{"L4", 1}};
  deploy(gpu);
  const ContainerId container = running_container(1);
  send(ContainerAdopted{ContainerId{7}, kPool, kNode, {DeviceId{1}}, now_, now_});
  EXPECT_EQ(only<StopContainer>().container, ContainerId{7});
  EXPECT_EQ(engine_.nodes().front().holds, (std::vector{DeviceHold{DeviceId{1}, container}}));
  exited(ContainerId{7}, ExitCause::stopped);
  EXPECT_EQ(engine_.nodes().front().holds, (std::vector{DeviceHold{DeviceId{1}, container}}));
}

TEST_F(Containers, ThatAnOperatorWantsToEndFinishWhatTheyRunFirst) {
  deploy({});
  const ContainerId container = running_container(1);
  send(ContainerUnwanted{container, StopWanted::when_empty});
  EXPECT_TRUE(all<StopContainer>().empty());
  forget();
  arrive(2);
  EXPECT_TRUE(all<DispatchInput>().empty()) << "it takes no more";
  EXPECT_NE(only<StartContainer>().container, container);
  forget();
  finish(1, container);
  EXPECT_EQ(only<AnswerInput>().input, InputId{1});
  EXPECT_EQ(only<StopContainer>().container, container);
  EXPECT_EQ(only<StopContainer>().mode, StopMode::graceful);
  EXPECT_EQ(only<StopContainer>().reason, Reason{ReasonCode::operator_asked});
}

TEST_F(Containers, ThatAnOperatorWantsToEndNowRunTheirInputsAgainElsewhere) {
  FunctionSettings settings;
  settings.scaling.min_containers = 1;
  deploy(settings);
  const ContainerId first = only<StartContainer>().container;
  bring_up(first);
  arrive(1);
  forget();
  send(ContainerUnwanted{first, StopWanted::now});
  EXPECT_EQ(only<StopContainer>().mode, StopMode::kill);
  EXPECT_EQ(only<StopContainer>().reason, Reason{ReasonCode::operator_asked});
  const ContainerId second = only<StartContainer>().container;
  forget();
  bring_up(second);
  EXPECT_EQ(only<DispatchInput>().input, InputId{1});
  exited(first, ExitCause::stopped);
  finish(1, second, only<DispatchInput>().attempt);
  EXPECT_EQ(only<AnswerInput>().input, InputId{1});
  EXPECT_TRUE(all<FailInput>().empty());
}

TEST_F(Containers, ThatAnOperatorWantsToEndAndThatAreIdleOrStartingEndAtOnce) {
  FunctionSettings settings;
  settings.scaling.min_containers = 1;
  deploy(settings);
  const ContainerId starting = only<StartContainer>().container;
  forget();
  send(ContainerUnwanted{starting, StopWanted::when_empty});
  EXPECT_EQ(only<StopContainer>().container, starting);
  const ContainerId next = only<StartContainer>().container;
  bring_up(next);
  forget();
  send(ContainerUnwanted{next, StopWanted::when_empty});
  EXPECT_EQ(only<StopContainer>().container, next);
  forget();
  send(ContainerUnwanted{next, StopWanted::when_empty});
  send(ContainerUnwanted{ContainerId{999}, StopWanted::now});
  EXPECT_TRUE(all<StopContainer>().empty());
}

}  // namespace
}  // namespace ember
