// Calls that functions make of functions: who ends with whom, the tree of them, and how far they
// say they are.
#include <cstring>

#include "control/async_calls.h"
#include "control/calls.h"
#include "control/control_fixture.h"

namespace ember {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kSpawned = R"(, "mode": "async")";

class Pipelines : public ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    must_deploy("docs", {function("slow"), function("stubborn"), function("echo")});
    must_deploy("tight", {function("stubborn", R"("max_containers": 1)")});
  }

  // The container that runs the call, once one does.
  FakeContainer* container_of(CallId call) {
    for (auto& [id, container] : node.containers) {
      for (const auto& input : container.inputs) {
        if (input.header.stream == call.value) return &container;
      }
    }
    return nullptr;
  }
  FakeContainer& running(CallId call) {
    until([&] { return container_of(call) != nullptr; });
    return *container_of(call);
  }
  // A call that the function makes which runs as `parent`.
  void call_from(CallId parent, const std::string& app, const std::string& function,
                 const std::string& more = "") {
    call_by(running(parent), parent, app, function, more);
  }
  void call_by(FakeContainer& container, CallId parent, const std::string& app,
               const std::string& function, const std::string& more = "") {
    const std::string head = R"({"app": ")" + app + R"(", "function": ")" + function +
                             R"(", "call": ")" + parent.text() + R"(")" + more + "}";
    const auto length = static_cast<std::uint16_t>(head.size());
    const std::string size(reinterpret_cast<const char*>(&length), sizeof length);
    container.runner->send(FrameType::call, size + head + "{}", ++last_number_);
  }
  JsonValue live(const std::string& app, const std::string& function) {
    const JsonValue all = json(control->calls_json(app, 100));
    for (const JsonValue& call : all["calls"]) {
      const bool lives = call["state"] == "waiting" || call["state"] == "running";
      if (lives && call["function"] == function) return call;
    }
    return {};
  }
  // The only one of the function that lives, once there is one.
  CallId only_live(const std::string& app, const std::string& function) {
    until([&] { return !live(app, function).is_null(); });
    return *CallId::parse(live(app, function)["call_id"].get<std::string>());
  }
  std::string state_of(CallId call) {
    const auto document = control->call_json(call);
    return document ? json(*document)["state"].get<std::string>() : "unknown";
  }
  JsonValue graph(CallId call) {
    auto drawn =
        wait_for<std::string>([&](auto done) { control->async_calls().graph(call, done); });
    EXPECT_TRUE(drawn.ok()) << (drawn.ok() ? "" : drawn.error().message);
    return drawn.ok() ? json(*drawn) : JsonValue();
  }
  void tell(CallId call, const std::string& progress) {
    FakeContainer& container = running(call);
    container.runner->send(FrameType::progress, progress, call.value, 1);
  }
  JsonValue told_of(CallId call) { return json(*control->call_json(call))["progress"]; }

  std::uint64_t last_number_ = 0;
};

TEST_F(Pipelines, WhatACallHasCalledIsCancelledWithIt) {
  Caller caller;
  const CallId parent = must_start("docs", "slow", caller);
  call_from(parent, "docs", "stubborn");
  const CallId waited_for = only_live("docs", "stubborn");
  call_from(parent, "tight", "stubborn", kSpawned);
  const CallId spawned = only_live("tight", "stubborn");
  ASSERT_TRUE(control->cancel_call(parent).ok());
  until([&] { return caller.done(); });
  EXPECT_EQ(state_of(waited_for), "cancelled");
  EXPECT_EQ(state_of(spawned), "cancelled");
}

TEST_F(Pipelines, WhatABatchHasCalledIsItsOwnAlsoOnceTheCallerOfItsFirstHasLeft) {
  must_deploy("many", {function("slow", R"("max_batch_size": 2, "batch_wait_ms": 60000)")});
  Caller first, second;
  const CallId one = must_start("many", "slow", first);
  const CallId other = must_start("many", "slow", second);
  FakeContainer& container = running(one);
  ASSERT_TRUE(control->cancel_call(one).ok());
  until([&] { return first.done(); });
  call_by(container, one, "docs", "stubborn");
  const CallId child = only_live("docs", "stubborn");
  EXPECT_EQ(live("docs", "stubborn")["parent_call_id"], one.text());
  ASSERT_TRUE(control->cancel_call(other).ok());
  until([&] { return second.done(); });
  until([&] { return state_of(child) == "cancelled"; });  // nobody waits for the batch any more
}

TEST_F(Pipelines, ACallThatHasEndedMakesNone) {
  Caller caller;
  const CallId parent = must_start("docs", "slow", caller);
  FakeContainer& container = running(parent);
  container.runner->send(FrameType::error, R"({"kind": "user_exception", "message": "no"})",
                         parent.value, 1);
  until([&] { return caller.done(); });
  call_by(container, parent, "docs", "stubborn");
  only_live("docs", "stubborn");
  EXPECT_EQ(live("docs", "stubborn")["parent_call_id"], nullptr);
}

TEST_F(Pipelines, WhatACallHasSpawnedGoesOnWhereTheCallFails) {
  Caller caller;
  const CallId parent = must_start("docs", "slow", caller);
  call_from(parent, "docs", "stubborn");
  const CallId waited_for = only_live("docs", "stubborn");
  call_from(parent, "tight", "stubborn", kSpawned);
  const CallId spawned = only_live("tight", "stubborn");
  FakeContainer& container = running(parent);
  container.runner->send(FrameType::error, R"({"kind": "user_exception", "message": "no"})",
                         parent.value, 1);
  until([&] { return caller.done(); });
  EXPECT_EQ(state_of(waited_for), "cancelled");
  EXPECT_NE(state_of(spawned), "cancelled");
  EXPECT_FALSE(live("tight", "stubborn").is_null());
}

TEST_F(Pipelines, TheTreeHasAllThatACallHasMadeWithItsPrice) {
  Caller caller;
  const CallId parent = must_start("docs", "slow", caller);
  call_from(parent, "docs", "stubborn");
  const CallId child = only_live("docs", "stubborn");
  call_from(child, "docs", "echo", kSpawned);
  until([&] { return graph(parent)["calls"] == 3; });
  const JsonValue drawn = graph(parent);
  EXPECT_EQ(drawn["whole"], true);
  const JsonValue& root = drawn["call"];
  EXPECT_EQ(root["call_id"], parent.text());
  EXPECT_EQ(root["parent_call_id"], nullptr);
  EXPECT_EQ(root["reason"], "runs on a container; waits for 1 call that it has made");
  ASSERT_EQ(root["children"].size(), 1u);
  EXPECT_EQ(root["children"][0]["call_id"], child.text());
  EXPECT_EQ(root["children"][0]["parent_call_id"], parent.text());
  const JsonValue& grandchild = root["children"][0]["children"][0];
  EXPECT_EQ(grandchild["function"], "echo");
  EXPECT_THAT(grandchild["children"], IsEmpty());
  until(
      [&] { return graph(parent)["call"]["children"][0]["children"][0]["state"] == "succeeded"; });
  EXPECT_NE(graph(parent)["call"]["tree_cost_usd"], "0.000000000");
}

TEST_F(Pipelines, TheTreeKnowsSpawnedCallsAfterARestart) {
  Caller caller;
  const CallId parent = must_start("docs", "slow", caller);
  call_from(parent, "docs", "echo", kSpawned);
  until([&] { return graph(parent)["call"]["children"].size() == 1; });
  const auto child =
      *CallId::parse(graph(parent)["call"]["children"][0]["call_id"].get<std::string>());
  until([&] { return state_of(child) == "succeeded"; });
  close();
  open();
  EXPECT_EQ(graph(child)["call"]["parent_call_id"], parent.text());
  const auto gone =
      wait_for<std::string>([&](auto done) { control->async_calls().graph(parent, done); });
  EXPECT_EQ(gone.error().code, ErrorCode::not_found);
}

TEST_F(Pipelines, ALoopIsToldToWhoCalledAsADeadlock) {
  Caller caller;
  const CallId parent = must_start("tight", "stubborn", caller);
  call_from(parent, "tight", "stubborn");
  until([&] { return json(control->calls_json("tight", 100))["calls"].size() == 2; });
  const std::string child = json(control->calls_json("tight", 100))["calls"][0]["call_id"];
  for (int look = 0; look < 3; ++look) pass(Duration::milliseconds(250));
  until([&] { return !running(parent).others.empty(); });
  const FakeRunner::Frame& frame = running(parent).others.front();
  EXPECT_EQ(frame.header.type, FrameType::call_error);
  EXPECT_EQ(json(frame.body)["kind"], kDeadlock);
  EXPECT_THAT(json(frame.body)["message"].get<std::string>(), HasSubstr("raise max_containers="));
  const JsonValue shown = json(*control->call_json(*CallId::parse(child)));
  EXPECT_EQ(shown["state"], "failed");
  EXPECT_EQ(shown["error"]["code"], kDeadlock);
}

TEST_F(Pipelines, AWaitForTheEndOfASpawnedCallIsOneToo) {
  Caller caller;
  const CallId parent = must_start("tight", "stubborn", caller);
  running(parent);
  call_from(parent, "tight", "stubborn", kSpawned);
  until([&] { return json(control->calls_json("tight", 100))["calls"].size() == 2; });
  const CallId child = only_live("tight", "stubborn");  // the newest
  pass(Duration::seconds(5));
  EXPECT_EQ(state_of(child), "waiting");
  call_from(parent, "", "",
            R"(, "result_of": ")" + child.text() + R"(", "wait_ms": 60000, "to_the_end": true)");
  for (int turns = 0; turns < 50; ++turns) turn();  // until the server has read it
  for (int look = 0; look < 3; ++look) pass(Duration::milliseconds(250));
  until([&] { return running(parent).others.size() > 1; });  // the first is the spawn's answer
  EXPECT_EQ(json(running(parent).others.back().body)["kind"], kDeadlock);
  close();
  open();
  const auto kept = wait_for<CallOutcome>(
      [&](auto done) { control->async_calls().outcome(child, Duration{}, done); });
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept->failure.told_code, kDeadlock);
}

TEST_F(Pipelines, ProgressIsShownWithTheCallAndKeptWithItsRecord) {
  AsyncRequest request{.app = "docs", .function = "slow", .arguments = {BodyFormat::json, "{}"}};
  std::optional<CallId> call;
  control->async_calls().spawn(std::move(request),
                               [&](const StartedCall& started, Acceptance) { call = *started; });
  until([&] { return call.has_value(); });
  running(*call);
  EXPECT_EQ(told_of(*call), nullptr);
  tell(*call, R"({"step": 3, "total": 10, "metrics": {"loss": 0.5}})");
  until([&] { return !told_of(*call).is_null(); });
  const JsonValue told = told_of(*call);
  EXPECT_EQ(told["step"], 3);
  EXPECT_EQ(told["total"], 10);
  EXPECT_EQ(told["metrics"], JsonValue::parse(R"({"loss": 0.5})"));
  EXPECT_EQ(live("docs", "slow")["progress"], told);
  running(*call).runner->send(FrameType::result, "1", call->value, 1);
  until([&] { return state_of(*call) == "succeeded"; });
  EXPECT_EQ(told_of(*call), told);
  close();
  open();
  const auto kept =
      wait_for<std::string>([&](auto done) { control->async_calls().show(*call, done); });
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(json(*kept)["progress"], told);
}

TEST_F(Pipelines, WhatIsNoProgressIsLeftOut) {
  Caller caller;
  const CallId call = must_start("docs", "slow", caller);
  running(call);
  tell(call, R"({"step": 1})");
  until([&] { return !told_of(call).is_null(); });
  for (const char* wrong : {"", "[]", "7", R"({"step": "two"})", R"({"metrics": [1]})",
                            R"({"metrics": {"loss": "low"}})", R"({"step": 2, "more": 1})"}) {
    tell(call, wrong);
  }
  running(call).runner->send(FrameType::progress, R"({"step": 9})", call.value, 2);
  tell(call, R"({"step": 3, "metrics": {"loss": null}})");
  until([&] { return told_of(call)["step"] == 3; });
}

}  // namespace
}  // namespace ember
