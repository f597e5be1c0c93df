// Calls of generator functions: items as they come, credit for what has gone, and no second run
// once a caller has seen a part.
#include "control/async_calls.h"
#include "control/control_fixture.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Streams : public ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    must_deploy("docs", {function("slow", R"("is_generator": true)"),
                         function("stubborn", R"("is_generator": true)"), function("echo")});
  }

  StartedCall start_items(const std::string& name, Caller& caller) {
    return control->start_call(
        {"docs", name, {BodyFormat::json, "{}"}, KeyId{}, {}, CallWants::items}, &caller);
  }
  CallId must_start_items(Caller& caller, const std::string& name = "slow") {
    const auto started = start_items(name, caller);
    EXPECT_TRUE(started.ok()) << (started.ok() ? "" : started.error().message);
    until([&] {
      const FakeContainer* container = container_of(name);
      return container && !container->inputs.empty();
    });
    return *started;
  }
  FakeContainer* container_of(const std::string& name) {
    for (auto& [id, container] : node.containers) {
      if (container.function == name) return &container;
    }
    return nullptr;
  }
  ContainerId id_of(const std::string& name) { return container_of(name)->spec.container; }
  void yield_item(CallId call, const std::string& item, const std::string& name = "slow") {
    const std::uint16_t attempt = container_of(name)->inputs.front().header.attempt;
    container_of(name)->runner->send(FrameType::chunk, item, call.value, attempt);
  }
  void finish(CallId call, const std::string& name = "slow") {
    const std::uint16_t attempt = container_of(name)->inputs.front().header.attempt;
    container_of(name)->runner->send(FrameType::result, "", call.value, attempt, BodyFormat::none);
  }
  void until_items(const Caller& caller, std::size_t count) {
    until([&] { return caller.items.size() >= count; });
  }
};

TEST_F(Streams, HandItemsOutAsTheyComeAndThenTheReport) {
  Caller caller;
  const CallId call = must_start_items(caller);
  yield_item(call, "1");
  until_items(caller, 1);
  EXPECT_FALSE(caller.done());
  yield_item(call, "2");
  yield_item(call, "3");
  finish(call);
  until([&] { return caller.done(); });
  EXPECT_THAT(caller.items, ElementsAre("1", "2", "3"));
  ASSERT_TRUE(caller.result);
  EXPECT_EQ(caller.result->bytes, "");
  EXPECT_TRUE(caller.report.is_stream);
  EXPECT_EQ(caller.report.items, 3u);
}

TEST_F(Streams, OfNoItemsSayThatTheyWereStreams) {
  Caller caller;
  finish(must_start_items(caller));
  until([&] { return caller.done(); });
  EXPECT_TRUE(caller.report.is_stream);
  EXPECT_EQ(caller.report.items, 0u);
}

TEST_F(Streams, ComeOfMethodsThatAreGeneratorsBesideOthersThatAreNot) {
  must_deploy("talk", {function("slow", R"("methods": [{"name": "size"}, )"
                                        R"({"name": "say", "is_generator": true}])")});
  Caller caller;
  const auto started = control->start_call(
      {"talk", "slow.say", {BodyFormat::json, "{}"}, KeyId{}, {}, CallWants::items}, &caller);
  ASSERT_TRUE(started.ok()) << started.error().message;
  until([&] { return container_of("slow") && !container_of("slow")->inputs.empty(); });
  yield_item(*started, "1");
  finish(*started);
  until([&] { return caller.done(); });
  EXPECT_THAT(caller.items, ElementsAre("1"));
  EXPECT_TRUE(caller.report.is_stream);

  Caller other;
  for (const auto& [method, wants] :
       {std::pair("slow.say", CallWants::result), std::pair("slow.size", CallWants::items)}) {
    const auto refused =
        control->start_call({"talk", method, {BodyFormat::json, "{}"}, KeyId{}, {}, wants}, &other);
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().message, HasSubstr("generator function"));
  }
}

TEST_F(Streams, GiveTheRunnerCreditForWhatHasGoneHalfAWindowAtATime) {
  Caller caller;
  const CallId call = must_start_items(caller);
  const std::uint32_t half = kStreamWindow.items / 2;
  for (std::uint32_t i = 0; i < half; ++i) yield_item(call, "12");
  until_items(caller, half);
  control->accept_items(call, {half - 1, 2 * (half - 1)});
  turn();
  EXPECT_TRUE(container_of("slow")->others.empty());
  control->accept_items(call, {1, 2});
  until([&] { return !container_of("slow")->others.empty(); });
  const FakeRunner::Frame& frame = container_of("slow")->others.front();
  EXPECT_EQ(frame.header.type, FrameType::credit);
  EXPECT_EQ(frame.header.stream, call.value);
  const auto credit = decode_credit(frame.body);
  ASSERT_TRUE(credit);
  EXPECT_EQ(credit->items, half);
  EXPECT_EQ(credit->bytes, 2 * half);
}

TEST_F(Streams, EndARunnerThatSendsBeyondItsWindow) {
  Caller caller;
  const CallId call = must_start_items(caller);
  for (std::uint32_t i = 0; i < kStreamWindow.items; ++i) yield_item(call, "1");
  until_items(caller, kStreamWindow.items);
  EXPECT_FALSE(container_of("slow")->killed);
  const ContainerId container = id_of("slow");
  yield_item(call, "1");
  until([&] { return caller.done(); });
  EXPECT_FALSE(node.containers.contains(container));
  EXPECT_EQ(caller.items.size(), kStreamWindow.items);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::container_crashed);
}

TEST_F(Streams, EndARunnerThatSendsItemsForAPlainFunction) {
  must_deploy("plain", {function("slow")});
  Caller caller;
  const CallId call = must_start("plain", "slow", caller);
  until_running();
  const ContainerId container = node.only().spec.container;
  node.only().runner->send(FrameType::chunk, "1", call.value, 1);
  until([&] { return !node.containers.contains(container); });
  EXPECT_TRUE(caller.items.empty());
}

TEST_F(Streams, RunAgainBeforeTheirFirstItemAlone) {
  Caller caller;
  const CallId call = must_start_items(caller);
  node.end_for(id_of("slow"), "the node lost it");
  until([&] { return container_of("slow") && !container_of("slow")->inputs.empty(); });
  EXPECT_EQ(container_of("slow")->inputs.front().header.attempt, 2);
  yield_item(call, "1");
  until_items(caller, 1);
  node.end_for(id_of("slow"), "the node lost it");
  until([&] { return caller.done(); });
  ASSERT_TRUE(caller.failure);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::container_crashed);
  EXPECT_THAT(caller.failure->error.message, HasSubstr("the stream broke after 1 item"));
  EXPECT_THAT(caller.failure->error.message, HasSubstr("not run again"));
  EXPECT_EQ(caller.report.items, 1u);
}

TEST_F(Streams, SayAfterHowManyItemsTheirContainerCrashed) {
  Caller caller;
  const CallId call = must_start_items(caller);
  yield_item(call, "1");
  yield_item(call, "2");
  until_items(caller, 2);
  node.end(id_of("slow"), 0, SIGSEGV);
  until([&] { return caller.done(); });
  EXPECT_EQ(caller.failure->error.code, ErrorCode::container_crashed);
  EXPECT_THAT(caller.failure->error.message, HasSubstr("the stream broke after 2 items"));
}

TEST_F(Streams, GiveNothingOfAnEarlierAttempt) {
  Caller caller;
  const CallId call = must_start_items(caller);
  container_of("slow")->runner->send(FrameType::chunk, "stale", call.value, 9);
  yield_item(call, "1");
  until_items(caller, 1);
  EXPECT_THAT(caller.items, ElementsAre("1"));
}

// It goes on until it is killed, and its input waits for another container meanwhile.
TEST_F(Streams, GiveNothingOfAContainerThatIsBeingKilled) {
  Caller caller;
  const CallId call = must_start_items(caller);
  const ContainerId first = id_of("slow");
  ASSERT_TRUE(control->stop_container(first, Control::ContainerStop::now).ok());
  yield_item(call, "of the killed");
  until([&] {
    const FakeContainer* next = container_of("slow");
    return next && next->spec.container != first && !next->inputs.empty();
  });
  yield_item(call, "1");
  until_items(caller, 1);
  EXPECT_THAT(caller.items, ElementsAre("1"));
}

TEST_F(Streams, ThatAreAbandonedStopTheirProducer) {
  Caller caller;
  const CallId call = must_start_items(caller);
  yield_item(call, "1");
  until_items(caller, 1);
  control->abandon_call(call);
  until([&] { return container_of("slow")->inputs.empty(); });
  EXPECT_THAT(node.interrupted, ElementsAre(id_of("slow")));
  control->accept_items(call, {1, 1});  // too late, and no harm
  EXPECT_FALSE(caller.done());
}

TEST_F(Streams, ThatBreakAreBilledForWhatTheyRanAndNothingMore) {
  Caller caller;
  const CallId call = must_start_items(caller);
  yield_item(call, "1");
  until_items(caller, 1);
  pass(Duration::milliseconds(500));
  control->abandon_call(call);
  until([&] { return container_of("slow")->inputs.empty(); });
  turn();
  pass(Duration::seconds(20));
  const JsonValue told = json(*control->call_json(call));
  EXPECT_EQ(told["state"], "cancelled");
  EXPECT_EQ(told["execute_us"], 500'000);
  // An eighth of a core at 0.036 and 128 MiB at 0.0036 an hour, for half a second.
  EXPECT_EQ(told["cost_usd"], (Money{625 + 63}).decimal());
}

TEST_F(Streams, AreNotAskedForOneResultNorPlainFunctionsForItems) {
  Caller caller;
  const auto result = start("docs", "slow", caller);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(result.error().message, HasSubstr(".remote_gen("));
  const auto items = start_items("echo", caller);
  ASSERT_FALSE(items.ok());
  EXPECT_EQ(items.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(items.error().message, HasSubstr(".remote("));
  EXPECT_TRUE(
      control
          ->start_call({"docs", "echo", {BodyFormat::json, "{}"}, KeyId{}, {}, CallWants::either},
                       &caller)
          .ok());
  until([&] { return caller.done(); });
  EXPECT_FALSE(caller.report.is_stream);
}

TEST_F(Streams, RunAgainForTheirRetriesBeforeTheirFirstItemAlone) {
  must_deploy("docs", {function("slow", R"("is_generator": true, "retries":
                                {"max_retries": 5, "initial_delay_ms": 1})")});
  Caller caller;
  const CallId call = must_start_items(caller);
  const auto raise = [&] {
    const FrameHeader header = container_of("slow")->inputs.front().header;
    container_of("slow")->inputs.clear();
    container_of("slow")->runner->send(
        FrameType::error, R"({"kind": "user_exception", "type": "ValueError", "message": "bad"})",
        header.stream, header.attempt);
  };
  raise();
  until([&] {
    clock.advance(Duration::milliseconds(10));
    return !container_of("slow")->inputs.empty();
  });
  EXPECT_EQ(container_of("slow")->inputs.front().header.attempt, 2);
  yield_item(call, "1");
  until_items(caller, 1);
  raise();
  until([&] { return caller.done(); });
  EXPECT_THAT(caller.items, ElementsAre("1"));
  ASSERT_TRUE(caller.failure);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::user_exception);
  EXPECT_EQ(caller.report.attempt, 2);
}

TEST_F(Streams, AreNotCalledAsynchronously) {
  std::optional<StartedCall> told;
  control->async_calls().spawn(
      {.app = "docs", .function = "slow", .arguments = {BodyFormat::json, "{}"}},
      [&](const StartedCall& call, Acceptance) { told = call; });
  until([&] { return told.has_value(); });
  ASSERT_FALSE(told->ok());
  EXPECT_EQ(told->error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(told->error().message, HasSubstr(".remote_gen("));
}

TEST_F(Streams, TellWhereACallIsOnItsWay) {
  Caller caller;
  const CallId call = *start_items("slow", caller);
  EXPECT_EQ(control->call_status(call).phase, CallPhase::starting);
  EXPECT_THAT(control->call_status(call).reason, HasSubstr("to start"));
  until([&] { return container_of("slow") && !container_of("slow")->inputs.empty(); });
  EXPECT_EQ(control->call_status(call).phase, CallPhase::running);
}

TEST_F(Streams, TellHowLongAStartUsuallyTakesYet) {
  Caller first, second;
  const CallId call = *start_items("slow", first);
  EXPECT_EQ(control->call_status(call).left, std::nullopt) << "none has been seen";
  clock.advance(Duration::seconds(4));
  until([&] { return container_of("slow") && !container_of("slow")->inputs.empty(); });
  EXPECT_EQ(control->call_status(call).left, std::nullopt) << "it runs";
  const CallId next = *start_items("slow", second);
  const auto usual = control->call_status(next).left;
  ASSERT_TRUE(usual);
  EXPECT_GE(*usual, Duration::seconds(4));
  clock.advance(Duration::milliseconds(1500));
  EXPECT_EQ(control->call_status(next).left, *usual - Duration::milliseconds(1500));
  clock.advance(Duration::seconds(9));
  EXPECT_EQ(control->call_status(next).left, Duration{0});
}

TEST_F(Streams, PassOnHowFarTheirFunctionSaysThatItIs) {
  Caller caller;
  const CallId call = must_start_items(caller);
  yield_item(call, "1");
  container_of("slow")->runner->send(FrameType::progress, R"({"step": 2, "total": 8})", call.value,
                                     1);
  until([&] { return !caller.progress.empty(); });
  EXPECT_THAT(caller.progress.front(), HasSubstr(R"("step":2)"));
  EXPECT_THAT(caller.items, ElementsAre("1"));
}

// --- from within a container ---

class NestedStreams : public Streams {
 protected:
  // A container of "slow" calls "stubborn".
  void begin() {
    must_start_items(outer);
    const std::string head = R"({"app": "docs", "function": "stubborn", "stream": true})";
    const auto length = static_cast<std::uint16_t>(head.size());
    container_of("slow")->runner->send(
        FrameType::call, std::string(reinterpret_cast<const char*>(&length), 2) + head + "{}", 5);
    until([&] { return container_of("stubborn") && !container_of("stubborn")->inputs.empty(); });
    inner = CallId{container_of("stubborn")->inputs.front().header.stream};
  }
  std::vector<FakeRunner::Frame>& came() { return container_of("slow")->others; }

  Caller outer;
  CallId inner;
};

TEST_F(NestedStreams, GoOnToTheCallingRunner) {
  begin();
  yield_item(inner, "1", "stubborn");
  until([&] { return came().size() == 1; });
  EXPECT_EQ(came()[0].header.type, FrameType::call_chunk);
  EXPECT_EQ(came()[0].header.stream, 5u);
  EXPECT_EQ(came()[0].body, "1");
}

TEST_F(NestedStreams, GoNoFurtherThanTheCallingRunnerGivesCredit) {
  begin();
  for (std::uint32_t i = 0; i < kStreamWindow.items; ++i) yield_item(inner, "1", "stubborn");
  until([&] { return came().size() == kStreamWindow.items; });
  EXPECT_TRUE(container_of("stubborn")->others.empty());
  // More than there were is as good as all.
  container_of("slow")->runner->send(FrameType::credit, encode_credit({1000, 1000}), 5);
  until([&] { return !container_of("stubborn")->others.empty(); });
  const auto credit = decode_credit(container_of("stubborn")->others.front().body);
  ASSERT_TRUE(credit);
  EXPECT_EQ(credit->items, kStreamWindow.items);
}

TEST_F(NestedStreams, EndWithTheCallThatTheCallingRunnerCancels) {
  begin();
  container_of("slow")->runner->send(FrameType::call_cancel, "", 5);
  until([&] { return !node.interrupted.empty(); });
  EXPECT_THAT(node.interrupted, ElementsAre(id_of("stubborn")));
}

}  // namespace
}  // namespace ember
