// Ticks of schedules: one call each, whatever happens around it.
#include <algorithm>

#include "control/async_calls.h"
#include "control/control_fixture.h"
#include "control/schedule_service.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string every(int seconds, const std::string& more = "") {
  return R"("schedule": {"period_ms": )" + std::to_string(seconds * 1000) + more + "}";
}
constexpr const char* kRunOnce = R"(, "missed": "run_once")";

class SchedulesTest : public ControlTest {
 protected:
  // Of docs.NAME every ten seconds; ticks are told in seconds from here on.
  void deploy_every_ten(const std::string& name = "echo", const std::string& more = "") {
    must_deploy("docs", {function(name, every(10, more))});
    deployed = clock.now();
  }
  // Lets ticks that are due become calls: the key is looked up, then the call is written, each in
  // its turn at the store.
  void let_ticks_be_accepted() {
    turn();
    ticks_run();
    ticks_run();
  }
  // And lets these end.
  void settle() {
    let_ticks_be_accepted();
    until([&] {
      return std::ranges::none_of(schedules(), [](const JsonValue& one) {
        const JsonValue& state = one["last_call_state"];
        return state == "waiting" || (state == "running" && one["function"] != "slow");
      });
    });
  }
  // To so many seconds after the deploy.
  void pass_to(int seconds) {
    const Time to = deployed + Duration::seconds(seconds);
    ASSERT_GE(to, clock.now());
    pass(to - clock.now());
    settle();
  }
  void down_until(int seconds) {
    close();
    clock.advance(deployed + Duration::seconds(seconds) - clock.now());
    open();
    node.reconnect_runners();
    settle();
  }

  JsonValue schedules() {
    const auto listed = wait_for<std::string>([&](auto done) { control->schedules().list(done); });
    EXPECT_TRUE(listed.ok());
    return json(*listed)["schedules"];
  }
  JsonValue schedule() {
    JsonValue all = schedules();
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? JsonValue() : all[0];
  }
  Result<std::string> pause(Pausing pausing, const std::string& name = "echo") {
    return wait_for<std::string>(
        [&](auto done) { control->schedules().pause("docs", name, pausing, done); });
  }
  // Seconds after the deploy of the ticks whose calls have ended, as their keys have them.
  std::vector<std::int64_t> ticks_run() {
    auto found = wait_for<std::vector<StoredCall>>([&](auto done) {
      store->query_calls(
          {"", {"succeeded", "cancelled", "failed"}, 1000}, [this, done](auto calls) {
            boost::asio::post(*loop, [done, calls = std::move(calls)] { done(calls); });
          });
    });
    std::vector<std::int64_t> seconds;
    for (const StoredCall& stored : *found) {
      const std::string& key = stored.call.idempotency_key;
      if (key.empty()) continue;
      const Time tick{std::stoll(key.substr(key.rfind('/') + 1))};
      seconds.push_back((tick - deployed).us / 1'000'000);
    }
    std::ranges::sort(seconds);
    return seconds;
  }

  Time deployed;
};

TEST_F(SchedulesTest, RunATickOnceAndTellOfIt) {
  deploy_every_ten();
  EXPECT_TRUE(schedule()["last_call_id"].is_null());
  EXPECT_EQ(schedule()["next_tick_ms"], (deployed + Duration::seconds(10)).whole_ms());
  pass_to(9);
  EXPECT_THAT(ticks_run(), IsEmpty());
  pass_to(10);
  EXPECT_THAT(ticks_run(), ElementsAre(10));
  pass_to(19);
  pass_to(20);
  pass_to(21);
  EXPECT_THAT(ticks_run(), ElementsAre(10, 20));
  const JsonValue shown = schedule();
  EXPECT_EQ(shown["app"], "docs");
  EXPECT_EQ(shown["function"], "echo");
  EXPECT_EQ(shown["text"], "every 10 s");
  EXPECT_EQ(shown["period_ms"], 10'000);
  EXPECT_EQ(shown["paused"], false);
  EXPECT_EQ(shown["last_tick_ms"], (deployed + Duration::seconds(20)).whole_ms());
  EXPECT_EQ(shown["next_tick_ms"], (deployed + Duration::seconds(30)).whole_ms());
  EXPECT_EQ(shown["last_call_state"], "succeeded");
  EXPECT_EQ(shown["skipped"], 0);
  EXPECT_EQ(shown["missed_ticks"], 0);
}

TEST_F(SchedulesTest, FollowACronExpressionInItsZone) {
  // The clock begins at 12:00 UTC, which is 13:00 in Berlin and 23:00 in Sydney.
  must_deploy(
      "docs",
      {function("echo", R"("schedule": {"cron": "5 13 * * *", "timezone": "Europe/Berlin"})"),
       function("other",
                R"("schedule": {"cron": "10 23 * * *", "timezone": "Australia/Sydney"})")});
  deployed = clock.now();
  EXPECT_EQ(schedules()[0]["text"], "5 13 * * * Europe/Berlin");
  pass_to(5 * 60);
  EXPECT_EQ(ticks_run().size(), 1u);
  pass_to(10 * 60);
  EXPECT_EQ(ticks_run().size(), 2u);
  for (int hour = 1; hour <= 25; ++hour) pass_to(hour * 3600);
  EXPECT_EQ(ticks_run().size(), 4u);
}

TEST_F(SchedulesTest, AreRefusedWhereTheyCanNeverRun) {
  const auto refused = [&](const std::string& schedule) {
    const auto deployment = deploy("docs", {function("echo", R"("schedule": )" + schedule)});
    EXPECT_FALSE(deployment.ok()) << schedule;
    if (deployment.ok()) return std::string();
    EXPECT_EQ(deployment.error().code, ErrorCode::invalid_argument);
    return deployment.error().message;
  };
  EXPECT_THAT(refused(R"({"cron": "0 0 31 2 *"})"),
              HasSubstr("schedule: cron \"0 0 31 2 *\": it can never fire"));
  EXPECT_THAT(refused(R"({"cron": "0 0 * *"})"), HasSubstr("five fields"));
  EXPECT_THAT(refused(R"({"cron": "@daily", "timezone": "Europe/Nowhere"})"),
              HasSubstr("no time zone \"Europe/Nowhere\""));
  EXPECT_THAT(refused(R"({"cron": "@daily", "timezone": "../x"})"), HasSubstr("timezone"));
  EXPECT_THAT(refused(R"({"period_ms": 1})"), HasSubstr("1 second"));
  EXPECT_THAT(refused(R"({"period_ms": 9223372036854775807})"), HasSubstr("366 days"));
  EXPECT_THAT(refused(R"({})"), HasSubstr("must be given"));
  EXPECT_THAT(refused(R"({"cron": "@daily", "period_ms": 1000})"), HasSubstr("not both"));
  EXPECT_THAT(refused(R"({"cron": "@daily", "missed": "all"})"), HasSubstr("run_once"));
  EXPECT_THAT(refused(R"({"cron": "@daily", "overlap": "maybe"})"), HasSubstr("allow"));
  EXPECT_THAT(refused(R"({"cron": "@daily", "when": 1})"), HasSubstr("when"));
  EXPECT_THAT(refused(R"("@daily")"), HasSubstr("schedule"));
}

TEST_F(SchedulesTest, RunATickOnceThoughTheServerDiesBeforeIt) {
  deploy_every_ten();
  down_until(9);
  EXPECT_THAT(ticks_run(), IsEmpty());
  pass_to(10);
  pass_to(11);
  EXPECT_THAT(ticks_run(), ElementsAre(10));
}

TEST_F(SchedulesTest, RunATickOnceThoughTheServerComesUpAtIt) {
  deploy_every_ten();
  down_until(10);
  pass_to(11);
  EXPECT_THAT(ticks_run(), ElementsAre(10));
  EXPECT_EQ(schedule()["missed_ticks"], 0);
}

TEST_F(SchedulesTest, RunATickOnceThoughTheServerDiesAfterIt) {
  for (const char* more : {"", kRunOnce}) {
    deploy_every_ten("echo", more);
    pass_to(10);
    ASSERT_THAT(ticks_run(), testing::Contains(10));
    const std::size_t run = ticks_run().size();
    down_until(11);
    EXPECT_EQ(ticks_run().size(), run);
    down_until(12);
    EXPECT_EQ(ticks_run().size(), run);
    EXPECT_EQ(schedule()["last_call_state"], "succeeded");
    ASSERT_TRUE(wait_for<std::string>([&](auto done) { control->stop_app("docs", done); }).ok());
  }
}

// The death comes in the middle of the tick: after each turn of the loop in its turn.
TEST_F(SchedulesTest, RunATickOnceWhereverInItTheServerDies) {
  deploy_every_ten("echo", kRunOnce);
  std::vector<std::int64_t> expected;
  for (int turns = 0; turns < 12; ++turns) {
    const int tick = 10 * (turns + 1);
    pass(deployed + Duration::seconds(tick) - clock.now());
    for (int i = 0; i < turns; ++i) turn();
    down_until(tick + 1);
    until([&] { return schedule()["last_call_state"] == "succeeded"; });
    expected.push_back(tick);
    EXPECT_EQ(ticks_run(), expected) << turns;
  }
}

// A state that was put back without the schedule's row, or with an older one.
TEST_F(SchedulesTest, RunATickOnceThoughItsRecordIsLost) {
  const auto answer = deploy("docs", {function("echo", every(10, kRunOnce))});
  ASSERT_TRUE(answer.ok());
  deployed = clock.now();
  pass_to(10);
  const JsonValue call = schedule()["last_call_id"];
  const auto app = AppId::parse(json(*answer)["app_id"].get<std::string>());
  const auto forgotten = wait_for<Ok>([&](auto done) {
    store->apply({ForgottenSchedule{*app, "echo"}}, [this, done](Result<> result) {
      boost::asio::post(*loop, [done, result] { done(result); });
    });
  });
  ASSERT_TRUE(forgotten.ok());
  down_until(12);
  EXPECT_THAT(ticks_run(), ElementsAre(10));
  EXPECT_EQ(schedule()["last_call_id"], call);
  pass_to(20);
  EXPECT_THAT(ticks_run(), ElementsAre(10, 20));
}

TEST_F(SchedulesTest, LeaveOutWhatWasMissed) {
  deploy_every_ten();
  pass_to(10);
  down_until(55);
  EXPECT_THAT(ticks_run(), ElementsAre(10));
  EXPECT_EQ(schedule()["missed_ticks"], 4);
  pass_to(60);
  EXPECT_THAT(ticks_run(), ElementsAre(10, 60));
  down_until(65);
  EXPECT_EQ(schedule()["missed_ticks"], 4) << "and count it once";
}

TEST_F(SchedulesTest, RunTheNewestOfWhatWasMissedWhereTheyAreToldTo) {
  deploy_every_ten("echo", kRunOnce);
  pass_to(10);
  down_until(55);
  EXPECT_THAT(ticks_run(), ElementsAre(10, 50));
  EXPECT_EQ(schedule()["missed_ticks"], 3);
  pass_to(60);
  down_until(61);
  EXPECT_THAT(ticks_run(), ElementsAre(10, 50, 60));
}

TEST_F(SchedulesTest, SkipATickWhileTheCallOfTheLastOneLives) {
  deploy_every_ten("slow");
  pass_to(10);
  EXPECT_EQ(schedule()["last_call_state"], "running");
  const std::string call = schedule()["last_call_id"].get<std::string>();
  pass_to(20);
  pass_to(30);
  EXPECT_EQ(schedule()["skipped"], 2);
  down_until(31);
  pass_to(40);
  EXPECT_EQ(schedule()["skipped"], 3) << "after a restart too, where it runs again";
  EXPECT_EQ(schedule()["last_call_id"], call);
  ASSERT_TRUE(control->cancel_call(*CallId::parse(call)).ok());
  until([&] { return schedule()["last_call_state"] == "cancelled"; });
  pass_to(50);
  EXPECT_EQ(schedule()["skipped"], 3);
  EXPECT_NE(schedule()["last_call_id"], call);
}

TEST_F(SchedulesTest, LetCallsOverlapWhereTheyAreToldTo) {
  deploy_every_ten("slow", R"(, "overlap": "allow")");
  for (const int tick : {10, 20, 30}) pass_to(tick);
  EXPECT_EQ(schedule()["skipped"], 0);
  EXPECT_EQ(json(control->calls_json("docs", 50))["calls"].size(), 3u);
}

TEST_F(SchedulesTest, TryATickAgainThatIsRefusedForALimit) {
  must_deploy("docs", {function("slow", R"("max_containers": 1, "queue_limit": 1, )" +
                                            every(10, R"(, "overlap": "allow")"))});
  deployed = clock.now();
  const auto last_tick_s = [&] {
    return (schedule()["last_tick_ms"].get<std::int64_t>() - deployed.whole_ms()) / 1000;
  };
  pass_to(10);
  const std::string running = schedule()["last_call_id"].get<std::string>();
  for (const int seconds : {20, 30, 35}) {
    pass(deployed + Duration::seconds(seconds) - clock.now());
    let_ticks_be_accepted();
  }
  EXPECT_EQ(last_tick_s(), 20) << "the third has no place to wait";
  ASSERT_TRUE(control->cancel_call(*CallId::parse(running)).ok());
  until([&] { return schedule()["last_call_state"] == "running"; });
  pass(Duration::seconds(1));
  let_ticks_be_accepted();
  EXPECT_EQ(last_tick_s(), 30);
  EXPECT_EQ(schedule()["missed_ticks"], 0);
}

TEST_F(SchedulesTest, RunNothingWhileTheyArePaused) {
  deploy_every_ten("echo", kRunOnce);
  pass_to(10);
  ASSERT_TRUE(pause(Pausing::pause).ok());
  EXPECT_EQ(schedule()["paused"], true);
  EXPECT_TRUE(schedule()["next_tick_ms"].is_null());
  pass_to(25);
  down_until(35);
  EXPECT_EQ(schedule()["paused"], true) << "it lasts";
  must_deploy("docs", {function("echo", every(10, kRunOnce)), function("other")});
  EXPECT_EQ(schedule()["paused"], true) << "through a deploy too";
  pass_to(45);
  ASSERT_TRUE(pause(Pausing::resume).ok());
  pass_to(46);
  EXPECT_THAT(ticks_run(), ElementsAre(10)) << "nothing is made up for";
  pass_to(50);
  EXPECT_THAT(ticks_run(), ElementsAre(10, 50));
  EXPECT_EQ(pause(Pausing::pause, "other").error().code, ErrorCode::not_found);
}

TEST_F(SchedulesTest, KeepTheirPhaseThroughADeployThatLeavesThemAsTheyAre) {
  deploy_every_ten();
  pass_to(7);
  must_deploy("docs", {function("echo", every(10, R"(, "overlap": "allow")"))});
  pass_to(10);
  EXPECT_THAT(ticks_run(), ElementsAre(10));
  EXPECT_EQ(schedule()["overlap"], "allow");
}

TEST_F(SchedulesTest, BeginAnewWithADeployThatChangesThem) {
  deploy_every_ten();
  pass_to(5);
  must_deploy("docs", {function("echo", every(7))});
  pass_to(10);
  EXPECT_THAT(ticks_run(), IsEmpty()) << "the old one's tick";
  down_until(11);
  pass_to(12);
  EXPECT_THAT(ticks_run(), ElementsAre(12));
  EXPECT_EQ(schedule()["text"], "every 7 s");
  must_deploy("docs", {function("echo")});
  EXPECT_THAT(schedules(), IsEmpty());
  pass_to(100);
  EXPECT_THAT(ticks_run(), ElementsAre(12));
}

TEST_F(SchedulesTest, EndWithTheirApp) {
  deploy_every_ten();
  pass_to(10);
  ASSERT_TRUE(wait_for<std::string>([&](auto done) { control->stop_app("docs", done); }).ok());
  EXPECT_THAT(schedules(), IsEmpty());
  pass_to(30);
  down_until(45);
  EXPECT_THAT(schedules(), IsEmpty());
  EXPECT_THAT(ticks_run(), ElementsAre(10));
  must_deploy("docs", {function("echo", every(10, kRunOnce))});
  pass_to(54);
  EXPECT_THAT(ticks_run(), ElementsAre(10));
  pass_to(55);
  EXPECT_THAT(ticks_run(), ElementsAre(10, 55)) << "from its new deploy on";
}

TEST_F(SchedulesTest, AreNotForEphemeralApps) {
  must_deploy("docs", {function("echo", every(10))}, true);
  EXPECT_THAT(schedules(), IsEmpty());
}

TEST_F(SchedulesTest, CanBeRunByHand) {
  deploy_every_ten();
  std::optional<StartedCall> started;
  const auto run = [&](const std::string& name) {
    started.reset();
    control->schedules().run("docs", name, KeyId{},
                             [&](const StartedCall& call, Acceptance) { started = call; });
    until([&] { return started.has_value(); });
  };
  run("echo");
  ASSERT_TRUE(started->ok());
  std::optional<Result<CallOutcome>> outcome;
  control->async_calls().outcome(**started, Duration::seconds(60),
                                 [&](auto given) { outcome = std::move(given); });
  until([&] { return outcome.has_value(); });
  EXPECT_EQ((*outcome)->value.bytes, "{}");
  EXPECT_TRUE(schedule()["last_call_id"].is_null()) << "it is no tick";
  run("other");
  ASSERT_FALSE(started->ok());
  EXPECT_EQ(started->error().code, ErrorCode::not_found);
}

TEST_F(SchedulesTest, HaveKeysThatNobodyElseCanTake) {
  deploy_every_ten();
  std::optional<StartedCall> started;
  control->async_calls().spawn({.app = "docs",
                                .function = "echo",
                                .arguments = {BodyFormat::json, "{}"},
                                .idempotency_key = "ember:tick/x"},
                               [&](const StartedCall& call, Acceptance) { started = call; });
  until([&] { return started.has_value(); });
  ASSERT_FALSE(started->ok());
  EXPECT_EQ(started->error().code, ErrorCode::invalid_argument);
}

TEST_F(SchedulesTest, RunNoMoreTicksOnceTheServerGoesDown) {
  deploy_every_ten();
  bool drained = false;
  control->begin_drain([&] { drained = true; });
  pass_to(10);
  until([&] {
    clock.advance(Duration::milliseconds(20));
    return drained;
  });
  EXPECT_THAT(ticks_run(), IsEmpty());
}

}  // namespace
}  // namespace ember
