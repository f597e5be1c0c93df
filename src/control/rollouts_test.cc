// Versions that come up beside the one before them: when they take over, and when not.
#include "control/rollouts.h"

#include "control/control_fixture.h"

namespace ember {
namespace {

using testing::HasSubstr;

class LiveRollouts : public ControlTest {
 protected:
  JsonValue roll_out(const std::string& app, std::vector<JsonValue> functions) {
    build();
    const std::string request = dump_json(
        {{"strategy", "rolling"}, {"source", upload()}, {"functions", std::move(functions)}});
    const auto answer =
        wait_for<std::string>([&](auto done) { control->deploy(app, request, done); });
    EXPECT_TRUE(answer.ok()) << (answer.ok() ? "" : answer.error().message);
    return answer.ok() ? json(*answer) : JsonValue();
  }
  JsonValue app() { return json(*control->app_json("docs")); }
  JsonValue version(std::size_t number) {
    const auto history =
        wait_for<std::string>([&](auto done) { control->history_json("docs", done); });
    return json(*history)["versions"][number - 1];
  }
  bool serves(std::uint32_t version) {
    return app()["version"] == version && app()["rollout"].is_null();
  }
  void answer(FakeContainer& container) {
    const FrameHeader input = container.inputs.at(0).header;
    container.inputs.clear();
    container.runner->send(FrameType::result, "1", input.stream, input.attempt);
  }
  void call_once() {
    Caller caller;
    call("docs", "echo", caller);
    EXPECT_TRUE(caller.result);
  }
};

TEST_F(LiveRollouts, TakeOverAtOnceWhereNothingIsThereToComeUpBeside) {
  EXPECT_EQ(roll_out("docs", {function("echo")})["serving"], 1);
  EXPECT_EQ(roll_out("docs", {function("echo")})["serving"], 2);
  EXPECT_EQ(version(1)["state"], "replaced");
  EXPECT_EQ(version(2)["state"], "serving");
}

TEST_F(LiveRollouts, TakeOverOnceTheirContainersAreUpAndTheOldOnesEndWhatTheyRun) {
  must_deploy("docs", {function("slow")});
  Caller old_call, between, new_call;
  must_start("docs", "slow", old_call);
  until_running();
  const ContainerId old_container = node.ids()[0];
  const JsonValue made = roll_out("docs", {function("slow")});
  EXPECT_EQ(made["version"], 2);
  EXPECT_EQ(made["serving"], 1);
  EXPECT_EQ(app()["rollout"]["version"], 2);
  EXPECT_THAT(app()["rollout"]["waits_for"].get<std::string>(),
              HasSubstr("slow has 0 of 1 containers ready"));
  EXPECT_EQ(version(2)["state"], "rolling");
  until([&] { return serves(2); });
  must_start("docs", "slow", new_call);
  until([&] {
    return node.containers.size() == 2 && !node.containers.at(node.ids()[1]).inputs.empty();
  });
  EXPECT_FALSE(old_call.done());
  answer(node.containers.at(old_container));
  until([&] { return old_call.done() && !node.containers.contains(old_container); });
  EXPECT_TRUE(old_call.result);
  EXPECT_FALSE(new_call.done());
}

TEST_F(LiveRollouts, OfBrokenCodeAreWithdrawnWithTheReasonAndNoCallFails) {
  must_deploy("docs", {function("echo", R"("max_containers": 1)")});
  call_once();
  node.broken_versions = {2};
  EXPECT_EQ(roll_out("docs", {function("echo", R"("max_containers": 1)")})["serving"], 1);
  Caller waits;
  must_start("docs", "echo", waits);
  until([&] {
    clock.advance(Duration::milliseconds(100));
    return app()["rollout"].is_null();
  });
  EXPECT_EQ(app()["version"], 1);
  EXPECT_EQ(version(2)["state"], "withdrawn");
  EXPECT_THAT(version(2)["reason"].get<std::string>(), HasSubstr("no container of echo came up"));
  until([&] { return waits.done(); });
  EXPECT_TRUE(waits.result);
  EXPECT_EQ(roll_out("docs", {function("echo")})["version"], 3);
}

TEST_F(LiveRollouts, AreWithdrawnByARollbackThatNamesNoVersion) {
  must_deploy("docs", {function("echo", R"("min_containers": 1)")});
  until([&] { return app()["functions"][0]["containers"]["idle"] == 1; });
  node.late_versions = {2};
  roll_out("docs", {function("echo", R"("min_containers": 1)")});
  const auto back = wait_for<std::string>(
      [&](auto done) { control->rollback("docs", 0, Rollout::rolling, done); });
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(json(*back)["version"], 1);
  EXPECT_EQ(version(2)["reason"], "rolled back");
}

TEST_F(LiveRollouts, GoOnAfterARestart) {
  must_deploy("docs", {function("echo", R"("min_containers": 1)")});
  until([&] { return app()["functions"][0]["containers"]["idle"] == 1; });
  node.late_versions = {2};
  roll_out("docs", {function("echo", R"("min_containers": 1)")});
  until([&] { return node.containers.size() == 2; });
  close();
  open();
  EXPECT_EQ(app()["version"], 1);
  EXPECT_EQ(app()["rollout"]["version"], 2);
  node.reconnect_runners();
  until([&] { return serves(2); });
  call_once();
}

TEST_F(LiveRollouts, KeepTheirWebLabelsTheirOwnOverARestart) {
  const auto site = [](const std::string& label) {
    return function("echo",
                    R"("min_containers": 1, "web": {"kind": "asgi", "label": ")" + label + "\"}");
  };
  must_deploy("docs", {site("before")});
  until([&] { return app()["functions"][0]["containers"]["idle"] == 1; });
  node.late_versions = {2};
  roll_out("docs", {site("after")});
  const std::string request =
      dump_json({{"strategy", "recreate"}, {"source", upload()}, {"functions", {site("after")}}});
  close();
  open();
  build();
  const auto refused =
      wait_for<std::string>([&](auto done) { control->deploy("shop", request, done); });
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(app()["version"], 1) << "it has not taken over meanwhile";
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("is the app docs's"));
}

TEST_F(LiveRollouts, HandTheCallsThatWaitForNoContainerToTheNewVersion) {
  must_deploy("docs", {function("slow", R"("max_containers": 1)")});
  Caller running, waiting;
  must_start("docs", "slow", running);
  until_running();
  const ContainerId old_container = node.ids()[0];
  roll_out("docs", {function("slow", R"("max_containers": 1)")});
  must_start("docs", "slow", waiting);
  answer(node.containers.at(old_container));
  until([&] { return serves(2); });
  until([&] { return !node.only().inputs.empty(); });
  answer(node.only());
  until([&] { return waiting.done(); });
  EXPECT_TRUE(running.result && waiting.result);
}

TEST(Rollouts, ReplaceAFunctionByItsLike) {
  FunctionSpec before, after;
  EXPECT_TRUE(can_replace(before, after));
  after.is_generator = true;
  EXPECT_FALSE(can_replace(before, after));
  after = before;
  before.of_class.methods = {{"read"}};
  EXPECT_FALSE(can_replace(before, after));
  after.of_class.methods = {{"count"}, {"read"}};
  EXPECT_TRUE(can_replace(before, after));
  EXPECT_FALSE(can_replace(after, before)) << "a method is gone";
  after.of_class.methods[1].is_generator = true;
  EXPECT_FALSE(can_replace(before, after)) << "nobody would take its items";
}

}  // namespace
}  // namespace ember
