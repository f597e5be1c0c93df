// Calls through the whole of control: a real store, a real loop, runners that speak frames.
#include <fcntl.h>

#include "control/control_fixture.h"

namespace ember {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class LiveCalls : public ControlTest {};

TEST_F(LiveCalls, AnswersACallFromAColdStartAndTheNextFromTheWarmContainer) {
  must_deploy("docs", {function("echo", R"("gpu": ["L4"])")});
  Caller cold, warm;
  call("docs", "echo", cold, R"({"page": 1})");
  ASSERT_TRUE(cold.result);
  EXPECT_EQ(cold.result->bytes, R"({"page": 1})");
  EXPECT_EQ(cold.result->format, BodyFormat::json);
  EXPECT_TRUE(cold.report.cold);
  EXPECT_EQ(cold.report.boot_ms, 300);
  EXPECT_EQ(cold.report.load_ms, 200);
  EXPECT_EQ(cold.report.gpu, "L4 (simulated)");
  // Half a second of an L4 at 0.72, an eighth of a core at 0.036 and 128 MiB at 0.0036 an hour.
  EXPECT_EQ(cold.report.start_cost, Money{100'000 + 625 + 63});
  EXPECT_TRUE(node.has_source);

  const JsonValue told = json(*control->call_json(cold.report.call))["start_us"];
  EXPECT_EQ(told["sandbox"], 0);
  EXPECT_EQ(told["interpreter"], 100'000);
  EXPECT_EQ(told["imports"], 200'000);  // what was left of its boot
  EXPECT_EQ(told["load"], 200'000);

  call("docs", "echo", warm);
  EXPECT_FALSE(warm.report.cold);
  EXPECT_TRUE(json(*control->call_json(warm.report.call))["start_us"].is_null());
  EXPECT_EQ(warm.report.container, cold.report.container);
  EXPECT_EQ(warm.report.boot_ms, 0);
  EXPECT_EQ(node.containers.size(), 1u);
}

TEST_F(LiveCalls, SaysWhatThereIsWhenAFunctionIsNotThere) {
  must_deploy("docs", {function("echo"), function("sum")});
  Caller caller;
  auto refused = start("nothing", "echo", caller);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::not_found);
  refused = start("docs", "read", caller);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::not_found);
  EXPECT_THAT(refused.error().message, HasSubstr("echo, sum"));
  EXPECT_FALSE(caller.done());
}

TEST_F(LiveCalls, RefusesOneMoreThanTheQueueHoldsWithoutTheWaiter) {
  must_deploy("docs", {function("slow", R"("max_containers": 1, "queue_limit": 1)")});
  Caller running, waiting, refused;
  must_start("docs", "slow", running);
  until_running();
  must_start("docs", "slow", waiting);
  const auto result = start("docs", "slow", refused);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::resource_exhausted);
  EXPECT_EQ(result.refusal().limit.name, "queue_limit");
  EXPECT_EQ(result.refusal().limit.value, 1);
  EXPECT_EQ(result.refusal().retry_after_s, 5);
  EXPECT_THAT(result.error().message, HasSubstr("raise queue_limit="));
  EXPECT_FALSE(refused.done());
  EXPECT_FALSE(waiting.done());
}

TEST_F(LiveCalls, TellsHowManyAreBeforeItWhereCallersTakeTurns) {
  must_deploy("docs", {function("slow", R"("max_containers": 1)")});
  Caller running, first, second, other;
  const auto call_as = [&](KeyId key, Caller& caller) {
    return *control->start_call({"docs", "slow", {BodyFormat::json, "{}"}, key}, &caller);
  };
  call_as(KeyId{7}, running);
  until_running();
  call_as(KeyId{7}, first);
  const CallId last = call_as(KeyId{7}, second);
  const auto reason = [&](CallId id) {
    return json(*control->call_json(id))["reason"].get<std::string>();
  };
  EXPECT_THAT(reason(last), HasSubstr("1 input ahead"));
  const CallId next = call_as(KeyId{8}, other);
  EXPECT_THAT(reason(last), HasSubstr("2 inputs ahead"));
  EXPECT_THAT(reason(next), HasSubstr("1 input ahead"));
}

TEST_F(LiveCalls, CancelsAWaitingCallAtOnceAndARunningOneThroughItsRunner) {
  must_deploy("docs", {function("slow", R"("max_containers": 1)")});
  Caller running, waiting;
  const CallId first = must_start("docs", "slow", running);
  until_running();
  const CallId second = must_start("docs", "slow", waiting);
  EXPECT_EQ(json(*control->call_json(first))["cold"], true);
  EXPECT_EQ(json(*control->call_json(second))["cold"], nullptr);

  ASSERT_TRUE(control->cancel_call(second).ok());
  EXPECT_EQ(json(*control->call_json(second))["cold"], nullptr) << "it never came to a container";
  ASSERT_TRUE(waiting.failure);
  EXPECT_EQ(waiting.failure->error.code, ErrorCode::cancelled);
  ASSERT_TRUE(control->cancel_call(first).ok());
  ASSERT_TRUE(running.failure);
  EXPECT_EQ(node.interrupted.size(), 1u);
  until([&] { return node.only().inputs.empty(); });
  EXPECT_EQ(control->cancel_call(first).error().code, ErrorCode::conflict);
  EXPECT_EQ(control->cancel_call(CallId{5}).error().code, ErrorCode::not_found);
  EXPECT_THAT(control->cancel_call(CallId{5}).error().message,
              HasSubstr("the last 10000 are kept"));
  const JsonValue shown = json(*control->call_json(first));
  EXPECT_EQ(shown["state"], "cancelled");
  EXPECT_EQ(shown["error"]["code"], "cancelled");
}

TEST_F(LiveCalls, AnswersNobodyOnceTheCallerHasGone) {
  must_deploy("docs", {function("slow")});
  {
    Caller caller;
    const CallId id = must_start("docs", "slow", caller);
    until_running();
    control->abandon_call(id);
    EXPECT_FALSE(caller.done());
  }
  until([&] { return node.only().inputs.empty(); });
}

TEST_F(LiveCalls, TimesOutAndKillsWhatDoesNotEnd) {
  must_deploy("docs", {function("stubborn", R"("timeout_ms": 1500)")});
  Caller caller;
  must_start("docs", "stubborn", caller);
  until_running();
  const ContainerId container = node.ids()[0];
  pass(Duration::milliseconds(1499));
  EXPECT_FALSE(caller.done());
  pass(Duration::milliseconds(1));
  ASSERT_TRUE(caller.failure);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::timed_out);
  EXPECT_THAT(caller.failure->error.message, HasSubstr("1500 ms"));
  EXPECT_EQ(caller.report.execute_us, 1'500'000);
  pass(Duration::seconds(2));
  until([&] { return !node.containers.contains(container); });
}

TEST_F(LiveCalls, GivesTheExitAndTheLastLinesWhenTheContainerCrashes) {
  must_deploy("docs", {function("crash")});
  Caller caller;
  call("docs", "crash", caller);
  ASSERT_TRUE(caller.failure);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::container_crashed);
  EXPECT_THAT(caller.failure->error.message, HasSubstr("signal 11"));
  EXPECT_THAT(caller.failure->error.message, HasSubstr("about to fall"));
  EXPECT_THAT(caller.failure->error.message, HasSubstr("ember logs docs"));
}

TEST_F(LiveCalls, RunsACallAgainWhereTheNodeEndedTheContainerForAFaultOfItsOwnAndSaysSo) {
  must_deploy("docs", {function("slow")});
  Caller caller;
  must_start("docs", "slow", caller);
  until_running();
  const ContainerId first = node.ids()[0];
  node.end_for(first, "its network ended");
  EXPECT_EQ(logs(logs_of("docs")).back().text, "ended: its network ended");
  until_running();
  EXPECT_NE(node.ids()[0], first);
  EXPECT_FALSE(caller.done());
}

TEST_F(LiveCalls, NamesTheLimitWhenTheContainerRunsOutOfMemory) {
  must_deploy("docs", {function("slow", R"("memory_bytes": 268435456)")});
  Caller caller;
  must_start("docs", "slow", caller);
  until_running();
  node.end(node.ids()[0], -1, SIGKILL, true);
  ASSERT_TRUE(caller.failure);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::out_of_memory);
  EXPECT_THAT(caller.failure->error.message,
              HasSubstr("went over its memory limit of 256 MiB while it ran this input"));
}

TEST_F(LiveCalls, PassesOnWhyTheModuleCouldNotBeLoadedAfterAFewTries) {
  must_deploy("docs", {function("broken")});
  Caller caller;
  must_start("docs", "broken", caller);
  until([&] {
    clock.advance(Duration::milliseconds(100));
    return caller.done();
  });
  ASSERT_TRUE(caller.failure);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::start_failed);
  EXPECT_EQ(json(caller.failure->body)["type"], "ImportError");
  EXPECT_THAT(caller.failure->error.message, HasSubstr("exit status 70"));
}

TEST_F(LiveCalls, HoldsTheCallWhileTheNodeRefusesAndSaysWhy) {
  must_deploy("docs", {function("refused")});
  Caller caller;
  const CallId id = must_start("docs", "refused", caller);
  until([&] { return !logs(logs_of("docs")).empty(); });
  EXPECT_THAT(logs(logs_of("docs")).back().text, HasSubstr("the disk is full"));
  EXPECT_FALSE(caller.done());
  const JsonValue shown = json(*control->call_json(id));
  EXPECT_EQ(shown["state"], "waiting");
  EXPECT_EQ(shown["reason"],
            "waits 500 ms for the next try after 1 refused start; the last try: the disk is full");
  EXPECT_EQ(json(*control->app_json("docs"))["functions"][0]["reason"], shown["reason"]);
}

TEST_F(LiveCalls, SaysThatStartsTakeTooLong) {
  must_deploy("docs", {function("late", R"("startup_timeout_ms": 5000)")});
  Caller caller;
  const CallId id = must_start("docs", "late", caller);
  until([&] { return node.containers.size() == 1; });
  until([&] { return node.only().loaded; });
  EXPECT_EQ(json(*control->call_json(id))["reason"],
            "waits for 1 container to start; it is the first in line; its code is being loaded");
  pass(Duration::seconds(5));
  EXPECT_THAT(json(*control->call_json(id))["reason"].get<std::string>(),
              HasSubstr("after 1 failed start; the last try: not ready within 5000 ms"));
}

TEST_F(LiveCalls, FailsTheCallAfterAFewTriesWhenTheSourceIsGone) {
  must_deploy("docs", {function("echo")});
  std::filesystem::remove_all(directory.path() + "/sources");
  std::filesystem::create_directory(directory.path() + "/sources");
  Caller caller;
  const CallId id = must_start("docs", "echo", caller);
  EXPECT_THAT(json(*control->call_json(id))["reason"].get<std::string>(),
              AllOf(HasSubstr("after 1 failed start; the last try: its source"),
                    HasSubstr("is gone; deploy it again")));
  pass(Duration::seconds(1));
  pass(Duration::seconds(1));
  ASSERT_TRUE(caller.failure);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::start_failed);
  EXPECT_THAT(caller.failure->error.message, HasSubstr("is gone; deploy it again"));
  must_deploy("docs", {function("echo")});
  Caller again;
  call("docs", "echo", again);
  EXPECT_TRUE(again.result);
}

TEST_F(LiveCalls, SaysThatNoNodeIsConnectedAtOnceAndAfterItCountsAsLost) {
  must_deploy("docs", {function("echo")});
  node.lose();
  Caller caller;
  const CallId id = must_start("docs", "echo", caller);
  const std::string told = "no node is connected; run `ember up`";
  for (int look = 0; look < 2; ++look) {
    EXPECT_EQ(json(*control->call_json(id))["reason"], told);
    EXPECT_EQ(json(*control->app_json("docs"))["functions"][0]["reason"], told);
    EXPECT_EQ(json(control->status_json())["missing"].back(), "no node is connected");
    pass(Duration::seconds(30));
  }
  node.starts.clear();
  node.connect();
  until([&] { return caller.done(); });
  EXPECT_TRUE(caller.result);
}

TEST_F(LiveCalls, PassesAnExceptionOfUserCodeOn) {
  must_deploy("docs", {function("raise")});
  Caller caller;
  call("docs", "raise", caller);
  ASSERT_TRUE(caller.failure);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::user_exception);
  EXPECT_EQ(caller.failure->error.message, "ValueError: bad page");
  EXPECT_EQ(json(caller.failure->body)["type"], "ValueError");
  EXPECT_EQ(control->metrics().at(0).errors, 1u);
}

TEST_F(LiveCalls, LetsAFunctionCallAnother) {
  must_deploy("docs", {function("echo"), function("outer")});
  Caller caller;
  call("docs", "outer", caller, "7");
  ASSERT_TRUE(caller.result);
  EXPECT_EQ(caller.result->bytes, "outer of 7");
}

TEST_F(LiveCalls, ACallThatItsCallerInAContainerDoesNotWantAnyMoreIsWithdrawn) {
  must_deploy("docs", {function("slow"), function("stubborn")});
  Caller caller;
  must_start("docs", "stubborn", caller);
  until_running();
  FakeRunner& runner = *node.only().runner;
  const auto send = [&](const std::string& head, std::uint64_t number) {
    const auto length = static_cast<std::uint16_t>(head.size());
    const std::string size(reinterpret_cast<const char*>(&length), sizeof length);
    runner.send(FrameType::call, size + head + "{}", number);
  };
  const auto slow_inputs = [&] {
    std::size_t count = 0;
    for (const auto& [id, one] : node.containers) {
      count += one.function == "slow" ? one.inputs.size() : 0;
    }
    return count;
  };
  for (std::uint64_t number = 1; number <= 3; ++number) {
    send(R"({"app": "docs", "function": "slow"})", number);
  }
  until([&] { return slow_inputs() == 3; });
  for (const std::uint64_t number : {1, 3, 77}) runner.send(FrameType::call_cancel, "", number);
  until([&] { return slow_inputs() == 1; });
  EXPECT_FALSE(caller.done());
}

TEST_F(LiveCalls, SendsLargeArgumentsAsAFileThatNobodyCanChange) {
  must_deploy("docs", {function("slow")});
  Caller caller;
  must_start("docs", "slow", caller, std::string(5 << 20, 'x'));
  until_running();
  const FakeRunner::Frame& input = node.only().inputs[0];
  EXPECT_EQ(input.body.size(), 8u) << "the call id alone";
  ASSERT_TRUE(input.file);
  EXPECT_EQ(::lseek(input.file.get(), 0, SEEK_END), 5 << 20);
  const std::string path = "/proc/self/fd/" + std::to_string(input.file.get());
  const UniqueFd writable(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_TRUE(!writable || ::write(writable.get(), "y", 1) < 0);
}

TEST_F(LiveCalls, StartsTheNextCallFromInsideAnAnswer) {
  struct Again final : CallWaiter {
    void on_result(Body, const CallReport&) override {
      if (++answers == 3) return;
      EXPECT_TRUE(control->start_call({"docs", "echo", {BodyFormat::json, "{}"}}, this).ok());
    }
    void on_failure(CallFailure, const CallReport&) override { FAIL(); }
    LiveControl* control = nullptr;
    int answers = 0;
  } again;
  again.control = control.get();
  must_deploy("docs", {function("echo")});
  ASSERT_TRUE(control->start_call({"docs", "echo", {BodyFormat::json, "{}"}}, &again).ok());
  until([&] { return again.answers == 3; });
}

TEST_F(LiveCalls, TagsLogLinesWithTheCallThatWroteThem) {
  must_deploy("docs", {function("echo")});
  Caller one, two;
  const CallId first = must_start("docs", "echo", one, "1");
  until([&] { return one.done(); });
  call("docs", "echo", two, "2");
  LogQuery query = logs_of("docs");
  query.call = first;
  const auto lines = logs(query);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].text, "read 1");
  EXPECT_EQ(lines[0].stream, "stdout");
  const auto none =
      wait_for<std::vector<LogLine>>([&](auto done) { control->logs(logs_of("none"), done); });
  EXPECT_EQ(none.error().code, ErrorCode::not_found);
}

TEST_F(LiveCalls, TellsFollowersUntilTheyLetGo) {
  struct Follower final : LogFollower {
    void on_line(const LogLine& line) override { texts.push_back(line.text); }
    std::vector<std::string> texts;
  };
  must_deploy("docs", {function("echo")});
  const auto follower = std::make_shared<Follower>();
  auto handle = control->follow_logs(logs_of("docs"), follower);
  Caller one, two;
  call("docs", "echo", one, "1");
  EXPECT_THAT(follower->texts, testing::ElementsAre("read 1"));
  handle = std::shared_ptr<void>();
  call("docs", "echo", two, "2");
  EXPECT_EQ(follower->texts.size(), 1u);
}

TEST_F(LiveCalls, ComparesTheCostOfACallWithOtherProvidersCheapestFirst) {
  must_deploy("docs", {function("echo", R"("gpu": ["L4"])")});
  Caller caller;
  const CallId id = must_start("docs", "echo", caller);
  until([&] { return caller.done(); });
  const JsonValue cost = json(*control->call_cost_json(id));
  EXPECT_EQ(cost["gpu"], "L4 (simulated)");
  EXPECT_TRUE(cost["simulated"]);
  EXPECT_EQ(cost["by_phase"][0]["phase"], "boot");
  EXPECT_EQ(cost["by_phase"][0]["ms"], 300);
  ASSERT_EQ(cost["elsewhere"].size(), 2u);
  EXPECT_EQ(cost["elsewhere"][0]["provider"], "cheap");
  EXPECT_THAT(cost["elsewhere"][0]["note"].get<std::string>(), HasSubstr("memory"));
  EXPECT_EQ(cost["elsewhere"][1]["usd"], "0.000500000") << "half a second at 3.6 an hour";
}

TEST_F(LiveCalls, CutsCostByKnownGroupsAlone) {
  const auto cost = wait_for<std::string>(
      [&](auto done) { control->cost_json("app,colour", "", {}, Time::never(), done); });
  ASSERT_FALSE(cost.ok());
  EXPECT_EQ(cost.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(cost.error().message,
            "cost cannot be cut by \"colour\"; known are app, function, day, phase, meter");
}

TEST_F(LiveCalls, CountsForMetrics) {
  must_deploy("docs", {function("echo", R"("gpu": ["L4"])")});
  Caller one, two;
  call("docs", "echo", one);
  call("docs", "echo", two);
  const auto metrics = control->metrics();
  ASSERT_EQ(metrics.size(), 1u);
  EXPECT_EQ(metrics[0].succeeded, 2u);
  EXPECT_EQ(metrics[0].cold_starts, 1u);
  EXPECT_EQ(metrics[0].idle, 1u);
  EXPECT_EQ(metrics[0].init_sum_us, 500'000);
  std::uint64_t invocations = 0;
  for (const std::uint64_t count : metrics[0].invoke_buckets) invocations += count;
  EXPECT_EQ(invocations, 2u);
}

TEST_F(LiveCalls, CountsNoColdStartThatNoCallWaitedFor) {
  must_deploy("docs", {function("echo", R"("min_containers": 1)")});
  until([&] { return json(control->containers_json())["containers"][0]["state"] == "idle"; });
  Caller caller;
  call("docs", "echo", caller);
  EXPECT_FALSE(caller.report.cold);
  const auto metrics = control->metrics();
  EXPECT_EQ(metrics.at(0).cold_starts, 0u);
  EXPECT_EQ(metrics.at(0).init_sum_us, 500'000) << "it took its time all the same";
}

TEST_F(LiveCalls, CountsOneColdStartForAllCallsThatWaitedForIt) {
  must_deploy("docs", {function("echo", R"("max_inputs": 4, "max_containers": 1)")});
  Caller one, two;
  must_start("docs", "echo", one);
  must_start("docs", "echo", two);
  until([&] { return one.done() && two.done(); });
  EXPECT_TRUE(one.report.cold);
  EXPECT_TRUE(two.report.cold);
  EXPECT_EQ(control->metrics().at(0).cold_starts, 1u);
}

TEST_F(LiveCalls, ChargesAStartToTheFirstCallOfThoseThatWaitedForIt) {
  must_deploy("docs", {function("echo", R"("max_inputs": 4, "max_containers": 1)")});
  Caller one, two;
  must_start("docs", "echo", one);
  const CallId id = must_start("docs", "echo", two);
  until([&] { return one.done() && two.done(); });
  // Half a second of an eighth of a core at 0.036 and 128 MiB at 0.0036 an hour.
  EXPECT_EQ(one.report.start_cost, Money{625 + 63});
  EXPECT_EQ(two.report.start_cost, Money{});
  EXPECT_EQ(two.report.boot_ms, 300);
  EXPECT_EQ(two.report.load_ms, 200);
  const JsonValue cost = json(*control->call_cost_json(id));
  EXPECT_EQ(cost["start_cost_usd"], "0.000000000");
  EXPECT_EQ(cost["by_phase"][0]["ms"], 300);
  EXPECT_EQ(cost["by_phase"][0]["usd"], "0.000000000");
  EXPECT_EQ(cost["elsewhere"][0]["usd"], "0.000000000") << "nor would it pay for one there";
}

TEST_F(LiveCalls, CountsACancelledCallAsNoError) {
  must_deploy("docs", {function("slow")});
  Caller caller;
  const CallId id = must_start("docs", "slow", caller);
  until_running();
  ASSERT_TRUE(control->cancel_call(id).ok());
  until([&] { return caller.done(); });
  ASSERT_TRUE(caller.failure);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::cancelled);
  EXPECT_EQ(control->metrics().at(0).errors, 0u);
}

TEST_F(LiveCalls, GivesInputsThatWaitTogetherToABatchedFunction) {
  must_deploy("docs", {function("slow", R"("max_batch_size": 2, "batch_wait_ms": 1000)")});
  Caller one, two;
  must_start("docs", "slow", one, R"({"page": 1})");
  must_start("docs", "slow", two, R"({"page": 2})");
  until([&] { return node.containers.size() == 1 && node.only().inputs.size() == 2; });
  EXPECT_THAT(node.only().spec.function_json, HasSubstr(R"("is_batched":true)"));
  EXPECT_THAT(node.only().inputs[0].body, HasSubstr(R"({"page": 1})"));
  EXPECT_EQ(node.only().batches, std::vector<std::uint32_t>{2});
}

}  // namespace
}  // namespace ember
