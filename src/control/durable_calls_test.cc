// Asynchronous calls: accepted once they are on disk, and answered whatever becomes of the server.
#include "control/async_calls.h"
#include "control/control_fixture.h"
#include "control/flaky_store.h"

namespace ember {
namespace {

using testing::HasSubstr;

class DurableCallsTest : public ControlTest {
 protected:
  Store& wrapped_store() override { return flaky; }

  struct Spawned {
    std::optional<StartedCall> call;
    Acceptance acceptance = Acceptance::fresh;
  };
  static AsyncRequest request(const std::string& function, const std::string& key = "",
                              const std::string& arguments = "{}") {
    return {.app = "docs",
            .function = function,
            .arguments = {BodyFormat::json, arguments},
            .idempotency_key = key};
  }
  std::shared_ptr<Spawned> begin(AsyncRequest wanted) {
    const auto spawned = std::make_shared<Spawned>();
    control->async_calls().spawn(std::move(wanted), [spawned](StartedCall call, Acceptance how) {
      spawned->call.emplace(std::move(call));
      spawned->acceptance = how;
    });
    return spawned;
  }
  Spawned spawn(AsyncRequest wanted) {
    const auto spawned = begin(std::move(wanted));
    until([&] { return spawned->call.has_value(); });
    return *spawned;
  }
  CallId must_spawn(AsyncRequest wanted) {
    const Spawned spawned = spawn(std::move(wanted));
    EXPECT_TRUE(spawned.call && spawned.call->ok());
    return spawned.call && spawned.call->ok() ? **spawned.call : CallId{};
  }
  CallOutcome outcome(CallId call, Duration patience = Duration::seconds(3600)) {
    auto found = wait_for<CallOutcome>(
        [&](auto done) { control->async_calls().outcome(call, patience, done); });
    EXPECT_TRUE(found.ok()) << (found.ok() ? "" : found.error().message);
    return found.ok() ? std::move(*found) : CallOutcome{};
  }

  // Lets the one container give its first input back.
  void answer(const std::string& value) {
    FakeContainer& container = node.only();
    ASSERT_FALSE(container.inputs.empty());
    const FrameHeader header = container.inputs.front().header;
    container.inputs.erase(container.inputs.begin());
    container.runner->send(FrameType::result, value, header.stream, header.attempt);
  }
  // The server dies, and its containers' runners find the next one.
  void restart() {
    close();
    open();
    node.reconnect_runners();
  }

  FlakyStore flaky{store};
};

TEST_F(DurableCallsTest, KeepTheirValueForWhoeverAsks) {
  must_deploy("docs", {function("echo")});
  const CallId call = must_spawn(request("echo", "", R"({"page": 7})"));
  for (int i = 0; i < 2; ++i) {
    const CallOutcome told = outcome(call);
    EXPECT_EQ(told.kind, CallOutcome::Kind::value);
    EXPECT_EQ(told.value.bytes, R"({"page": 7})");
    EXPECT_EQ(told.report.call, call);
    EXPECT_EQ(told.report.attempt, 1);
  }
  close();
  open();
  EXPECT_EQ(outcome(call).value.bytes, R"({"page": 7})");
}

TEST_F(DurableCallsTest, KeepTheErrorThatTheyEndedWith) {
  must_deploy("docs", {function("raise")});
  const CallId call = must_spawn(request("raise"));
  const CallOutcome first = outcome(call);
  EXPECT_EQ(first.kind, CallOutcome::Kind::failure);
  EXPECT_EQ(first.failure.error.code, ErrorCode::user_exception);
  close();
  open();
  const CallOutcome later = outcome(call);
  EXPECT_EQ(later.failure.error.code, ErrorCode::user_exception);
  EXPECT_EQ(later.failure.body, first.failure.body);
  EXPECT_EQ(later.report.attempt, first.report.attempt);
}

TEST_F(DurableCallsTest, RunAgainFromTheirBeginningAfterTheServerDied) {
  must_deploy("docs", {function("slow", R"("max_containers": 1)")});
  const CallId call = must_spawn(request("slow"));
  until_running();
  restart();
  until_running();
  answer(R"("done")");
  EXPECT_EQ(outcome(call).value.bytes, R"("done")");
}

TEST_F(DurableCallsTest, AreNotAcceptedWhereTheDiskTakesNoWrites) {
  must_deploy("docs", {function("echo")});
  flaky.full = true;
  const Spawned refused = spawn(request("echo"));
  ASSERT_FALSE(refused.call->ok());
  EXPECT_EQ(refused.call->error().code, ErrorCode::storage_failed);
  flaky.full = false;
  EXPECT_EQ(outcome(must_spawn(request("echo"))).kind, CallOutcome::Kind::value);
}

TEST_F(DurableCallsTest, KeepTheirOutcomeInMemoryUntilTheDiskTakesIt) {
  must_deploy("docs", {function("slow")});
  const CallId call = must_spawn(request("slow"));
  until_running();
  flaky.full = true;
  answer(R"("done")");
  until([&] { return control->call_json(call)->find("succeeded") != std::string::npos; });
  EXPECT_EQ(outcome(call, Duration{}).kind, CallOutcome::Kind::pending);
  flaky.full = false;
  pass(Duration::seconds(2));
  EXPECT_EQ(outcome(call).value.bytes, R"("done")");
}

TEST_F(DurableCallsTest, WithOneKeyAreOneCallAlsoAfterARestart) {
  must_deploy("docs", {function("echo"), function("raise")});
  const auto first = begin(request("echo", "pay-1"));
  const auto second = begin(request("echo", "pay-1"));
  until([&] { return first->call && second->call; });
  EXPECT_EQ(first->acceptance, Acceptance::fresh);
  EXPECT_EQ(second->acceptance, Acceptance::repeated);
  EXPECT_EQ(**first->call, **second->call);
  const CallId call = **first->call;
  EXPECT_EQ(outcome(call).kind, CallOutcome::Kind::value);
  close();
  open();
  EXPECT_EQ(must_spawn(request("echo", "pay-1")), call);
  const Spawned other = spawn(request("echo", "pay-1", R"({"more": 1})"));
  ASSERT_FALSE(other.call->ok());
  EXPECT_EQ(other.call->refusal().status, 422);
  EXPECT_FALSE(spawn(request("raise", "pay-1")).call->ok());
}

TEST_F(DurableCallsTest, CountAgainstTheQueueBeforeTheyAreOnDisk) {
  must_deploy("docs", {function("slow", R"("max_containers": 1, "queue_limit": 2)")});
  must_spawn(request("slow"));
  until_running();
  std::vector<std::shared_ptr<Spawned>> all;
  for (int i = 0; i < 3; ++i) all.push_back(begin(request("slow")));
  until([&] { return all[0]->call && all[1]->call && all[2]->call; });
  EXPECT_TRUE(all[0]->call->ok());
  EXPECT_TRUE(all[1]->call->ok());
  ASSERT_FALSE(all[2]->call->ok());
  EXPECT_EQ(all[2]->call->error().code, ErrorCode::resource_exhausted);
  EXPECT_EQ(all[2]->call->refusal().limit.name, "queue_limit");
}

TEST_F(DurableCallsTest, FailWhereTheirFunctionIsGoneAtTheNextStart) {
  must_deploy("docs", {function("slow")});
  const CallId call = must_spawn(request("slow"));
  until_running();
  restart();
  ASSERT_TRUE(wait_for<std::string>([&](auto done) { control->stop_app("docs", done); }).ok());
  EXPECT_EQ(outcome(call).failure.error.code, ErrorCode::cancelled);
}

TEST_F(DurableCallsTest, CanBeCancelled) {
  must_deploy("docs", {function("slow")});
  const CallId call = must_spawn(request("slow"));
  until_running();
  ASSERT_TRUE(control->cancel_call(call).ok());
  EXPECT_EQ(outcome(call).failure.error.code, ErrorCode::cancelled);
}

TEST_F(DurableCallsTest, ThatAreDeadRunAgainAsNewCalls) {
  must_deploy("docs", {function("raise")});
  const CallId dead = must_spawn(request("raise", "key"));
  outcome(dead);
  std::optional<StartedCall> again;
  control->async_calls().repeat(
      dead, KeyId{}, [&](StartedCall call, Acceptance) { again.emplace(std::move(call)); });
  until([&] { return again.has_value(); });
  ASSERT_TRUE(again->ok());
  EXPECT_NE(**again, dead);
  EXPECT_EQ(outcome(**again).kind, CallOutcome::Kind::failure);
  const auto listed = wait_for<std::string>(
      [&](auto done) { control->async_calls().list("dead", "docs", 10, done); });
  EXPECT_THAT(*listed, HasSubstr(dead.text()));
  EXPECT_THAT(*listed, HasSubstr((**again).text()));
  const auto shown =
      wait_for<std::string>([&](auto done) { control->async_calls().show(**again, done); });
  EXPECT_THAT(*shown, HasSubstr(R"("repeats":")" + dead.text()));
}

TEST_F(DurableCallsTest, AreListedByHowTheyEndedAlone) {
  const auto listed = wait_for<std::string>(
      [&](auto done) { control->async_calls().list("running", "", 10, done); });
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(listed.error().message, HasSubstr("succeeded, failed, timed_out, cancelled or dead"));
}

TEST_F(DurableCallsTest, AreLeftToTheNextServerByOneThatDrains) {
  must_deploy("docs", {function("slow", R"("max_containers": 1)")});
  const CallId runs = must_spawn(request("slow"));
  until_running();
  const CallId waits = must_spawn(request("slow"));
  bool drained = false;
  control->begin_drain([&] { drained = true; });
  answer(R"("done")");
  until([&] {
    clock.advance(Duration::milliseconds(50));
    return drained;
  });
  restart();
  EXPECT_EQ(outcome(runs).value.bytes, R"("done")");
  until_running();
  answer(R"("done too")");
  EXPECT_EQ(outcome(waits).value.bytes, R"("done too")");
}

TEST_F(DurableCallsTest, ThatAreLeftSayThatTheServerGoesDownToThoseWhoWait) {
  must_deploy("docs", {function("slow", R"("max_containers": 1)")});
  must_spawn(request("slow"));
  until_running();
  const CallId waits = must_spawn(request("slow"));
  std::optional<Result<CallOutcome>> told;
  const auto tell = [&](Result<CallOutcome> found) { told.emplace(std::move(found)); };
  control->async_calls().outcome(waits, Duration::seconds(3600), tell);
  control->begin_drain([] {});
  ASSERT_TRUE(told);
  EXPECT_EQ(told->error().code, ErrorCode::unavailable);
  told.reset();
  control->async_calls().outcome(waits, Duration::seconds(3600), tell);
  until([&] { return told.has_value(); });
  EXPECT_EQ(told->error().code, ErrorCode::unavailable);
}

TEST_F(DurableCallsTest, AreNotRunAgainIntoAFullQueue) {
  must_deploy("docs", {function("slow", R"("queue_limit": 1, "max_containers": 1)")});
  const CallId call = must_spawn(request("slow"));
  until_running();
  answer(R"("done")");
  EXPECT_EQ(outcome(call).kind, CallOutcome::Kind::value);
  must_spawn(request("slow"));
  until_running();
  must_spawn(request("slow"));
  std::optional<StartedCall> again;
  control->async_calls().repeat(
      call, KeyId{}, [&](StartedCall started, Acceptance) { again.emplace(std::move(started)); });
  until([&] { return again.has_value(); });
  ASSERT_FALSE(again->ok());
  EXPECT_EQ(again->error().code, ErrorCode::resource_exhausted);
}

TEST_F(DurableCallsTest, AreForgottenAWeekAfterTheirEnd) {
  must_deploy("docs", {function("echo")});
  const CallId old = must_spawn(request("echo"));
  outcome(old);
  pass(Duration::seconds(7 * 24 * 3600 + 61));
  outcome(must_spawn(request("echo")));
  pass(Duration::seconds(61));
  const auto found =
      wait_for<CallOutcome>([&](auto done) { control->async_calls().outcome(old, {}, done); });
  EXPECT_FALSE(found.ok());
}

TEST_F(DurableCallsTest, ThatFailRunAgainAndPayForAllTheirAttempts) {
  must_deploy("docs",
              {function("raise", R"("retries": {"max_retries": 2, "initial_delay_ms": 1})")});
  const CallId call = must_spawn(request("raise"));
  const auto told = std::make_shared<std::optional<CallOutcome>>();
  control->async_calls().outcome(call, Duration::seconds(3600), [told](Result<CallOutcome> found) {
    *told = std::move(found).value();
  });
  until([&] {
    clock.advance(Duration::milliseconds(10));
    return told->has_value();
  });
  EXPECT_EQ((*told)->report.attempt, 3);
}

}  // namespace
}  // namespace ember
