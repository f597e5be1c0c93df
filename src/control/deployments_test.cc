// Deploying, rolling back, stopping; drains and keys.
#include <set>

#include "control/control_fixture.h"
#include "control/key_ring.h"
#include "control/key_text.h"

namespace ember {
namespace {

using testing::HasSubstr;

class LiveDeployments : public ControlTest {
 protected:
  Result<std::string> rollback(const std::string& app, std::uint32_t version) {
    return wait_for<std::string>(
        [&](auto done) { control->rollback(app, version, Rollout::recreate, done); });
  }
  Result<std::string> stop(const std::string& app) {
    return wait_for<std::string>([&](auto done) { control->stop_app(app, done); });
  }
  JsonValue app(const std::string& name) { return json(*control->app_json(name)); }
};

TEST_F(LiveDeployments, ShowsWhatWasDeployed) {
  const auto answer =
      deploy("docs", {function("echo", R"("gpu": ["L4"], "parameters": [{"name": "page"}])")});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(json(*answer)["version"], 1);
  EXPECT_THAT(json(*answer)["functions"][0]["url"].get<std::string>(),
              testing::EndsWith("/fn/docs/echo"));
  const JsonValue shown = app("docs");
  EXPECT_EQ(shown["state"], "deployed");
  EXPECT_EQ(shown["functions"][0]["gpu"], "L4");
  EXPECT_EQ(shown["functions"][0]["parameters"], json(R"([{"name": "page"}])"));
  EXPECT_EQ(shown["functions"][0]["settings"]["max_inputs"], 1);
  EXPECT_EQ(json(control->apps_json())["apps"].size(), 1u);
  EXPECT_FALSE(control->app_json("other").ok());
}

TEST_F(LiveDeployments, SendsNewCallsToTheNewVersionAndLetsRunningOnesEndOnTheOld) {
  must_deploy("docs", {function("slow")});
  Caller old_call, new_call;
  must_start("docs", "slow", old_call);
  until_running();
  const ContainerId old_container = node.ids()[0];
  must_deploy("docs", {function("slow")});
  EXPECT_FALSE(old_call.done());
  must_start("docs", "slow", new_call);
  until([&] {
    return node.containers.size() == 2 && !node.containers.at(node.ids()[1]).inputs.empty();
  });

  FakeContainer& container = node.containers.at(old_container);
  const FrameHeader input = container.inputs[0].header;
  container.runner->send(FrameType::result, "1", input.stream, input.attempt);
  until([&] { return old_call.done() && !node.containers.contains(old_container); });
  EXPECT_TRUE(old_call.result);
  EXPECT_FALSE(new_call.done());
}

TEST_F(LiveDeployments, RollsBackByANewVersionLikeTheOldOne) {
  must_deploy("docs", {function("echo", R"("timeout_ms": 1111)")});
  must_deploy("docs", {function("echo", R"("timeout_ms": 2222)"), function("sum")});
  ASSERT_TRUE(rollback("docs", 0).ok());
  const JsonValue shown = app("docs");
  EXPECT_EQ(shown["version"], 3);
  ASSERT_EQ(shown["functions"].size(), 1u);
  EXPECT_EQ(shown["functions"][0]["settings"]["timeout_ms"], 1111);

  const auto history =
      wait_for<std::string>([&](auto done) { control->history_json("docs", done); });
  const JsonValue versions = json(*history)["versions"];
  ASSERT_EQ(versions.size(), 3u);
  EXPECT_EQ(versions[2]["message"], "rollback to 1");
  EXPECT_TRUE(versions[2]["current"]);
  EXPECT_EQ(rollback("docs", 9).error().code, ErrorCode::not_found);
  EXPECT_EQ(rollback("docs", 3).error().code, ErrorCode::conflict);
  EXPECT_EQ(rollback("none", 1).error().code, ErrorCode::not_found);
  EXPECT_THAT(rollback("none", 1).error().message, HasSubstr("`ember app list`"));
}

TEST_F(LiveDeployments, StopsAnAppWithItsCallsAndContainersAndDeploysItAgain) {
  must_deploy("docs", {function("slow", R"("max_containers": 1)")});
  Caller running, waiting, late;
  must_start("docs", "slow", running);
  until_running();
  must_start("docs", "slow", waiting);
  const auto stopped = stop("docs");
  ASSERT_TRUE(stopped.ok());
  EXPECT_EQ(json(*stopped)["cancelled"], 2);
  until([&] { return node.containers.empty(); });
  ASSERT_TRUE(running.failure && waiting.failure);
  EXPECT_EQ(waiting.failure->error.code, ErrorCode::cancelled);
  EXPECT_THAT(start("docs", "slow", late).error().message, HasSubstr("is stopped"));
  EXPECT_EQ(app("docs")["state"], "stopped");

  must_deploy("docs", {function("echo")});
  EXPECT_EQ(app("docs")["version"], 2);
  Caller again;
  call("docs", "echo", again);
  EXPECT_TRUE(again.result);
}

TEST_F(LiveDeployments, StopsAnEphemeralAppWithoutHeartbeats) {
  must_deploy("run", {function("echo")}, /*ephemeral=*/true);
  pass(Duration::seconds(20));
  ASSERT_TRUE(control->heartbeat("run").ok());
  pass(Duration::seconds(29));
  EXPECT_EQ(app("run")["state"], "ephemeral");
  pass(Duration::seconds(1));
  until([&] { return app("run")["state"] == "stopped"; });
  EXPECT_EQ(control->heartbeat("run").error().code, ErrorCode::not_found);
  EXPECT_THAT(control->heartbeat("run").error().message, HasSubstr("is stopped; deploy it again"));
}

TEST_F(LiveDeployments, RefusesWhatTheFleetCanNeverHoldAndSaysWhatItHas) {
  const auto gpu = deploy("docs", {function("echo", R"("gpu": ["H100:2"])")});
  ASSERT_FALSE(gpu.ok());
  EXPECT_EQ(gpu.error().code, ErrorCode::conflict);
  EXPECT_THAT(gpu.error().message, HasSubstr("H100:2"));
  EXPECT_THAT(gpu.error().message, HasSubstr("1 x L4 (simulated)"));
  EXPECT_FALSE(control->app_json("docs").ok());
}

TEST_F(LiveDeployments, TellsTheNodeOfAFunctionWithoutANetworkAndRefusesItWhereNothingKeepsIt) {
  const JsonValue closed = function("echo", R"("network": "none")");
  must_deploy("docs", {closed});
  EXPECT_EQ(app("docs")["functions"][0]["network"], "none");
  Caller caller;
  call("docs", "echo", caller);
  EXPECT_EQ(node.only().spec.sandbox.network.access, NetworkAccess::none);
  node.hello.isolation = "process";
  node.connect();
  const auto refused = deploy("docs", {closed});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("echo asks for network=\"none\""));
  must_deploy("docs", {function("echo")});
}

TEST_F(LiveDeployments, RefusesGvisorWhereTheNodeHasNoneAndWhatItCannotKeep) {
  const JsonValue walled = function("echo", R"("isolation": "gvisor")");
  must_deploy("docs", {walled});
  EXPECT_EQ(app("docs")["functions"][0]["isolation"], "gvisor");
  Caller caller;
  call("docs", "echo", caller);
  EXPECT_EQ(node.only().spec.sandbox.isolation, IsolationClass::gvisor);
  for (const char* setting : {R"("gpu": ["L4"])", R"("network": ["203.0.113.0/24"])"}) {
    const auto wish = R"("isolation": "gvisor", )" + std::string(setting);
    const auto refused = deploy("docs", {function("echo", wish)});
    ASSERT_FALSE(refused.ok()) << setting;
    EXPECT_EQ(refused.error().code, ErrorCode::conflict) << refused.error().message;
    EXPECT_THAT(refused.error().message, HasSubstr("with isolation=\"gvisor\""));
  }
  node.hello.no_gvisor = "runsc is not installed: apt-get install runsc";
  node.connect();
  const auto refused = deploy("docs", {walled});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("apt-get install runsc"));
}

TEST_F(LiveDeployments, RefusesImagesThatAreNotBuiltAndSourcesThatAreNotThere) {
  const auto image = deploy("docs", {function("echo", R"("image": {"base": "host", "steps":
                                   [{"kind": "uv_pip_install", "arguments": ["numpy"]}]})")});
  ASSERT_FALSE(image.ok());
  EXPECT_EQ(image.error().code, ErrorCode::conflict);
  EXPECT_THAT(image.error().message, HasSubstr("not built"));

  const std::string source = "src-" + std::string(32, '0');
  const auto missing = wait_for<std::string>([&](auto done) {
    control->deploy("docs", dump_json({{"source", source}, {"functions", {function("echo")}}}),
                    done);
  });
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::conflict);
  EXPECT_THAT(missing.error().message, HasSubstr(source));
  EXPECT_FALSE(deploy("a/b", {function("echo")}).ok());
}

TEST_F(LiveDeployments, RunsUnderNoNameThatIsDeployed) {
  must_deploy("docs", {function("echo")});
  const auto refused = deploy("docs", {function("echo")}, /*ephemeral=*/true);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
}

TEST_F(LiveDeployments, MakesOneChangeOfAnAppAtATime) {
  build();
  const std::string request = dump_json({{"source", upload()}, {"functions", {function("echo")}}});
  std::optional<Result<std::string>> first, second;
  control->deploy("docs", request, [&](auto given) { first = std::move(given); });
  control->deploy("docs", request, [&](auto given) { second = std::move(given); });
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->error().code, ErrorCode::conflict);
  until([&] { return first.has_value(); });
  EXPECT_TRUE(first->ok());
}

TEST_F(LiveDeployments, TellsWhoWatchesABuildAndFailsItWhenTheNodeGoes) {
  struct Watch final : BuildObserver {
    void on_line(std::string_view line) override { lines.emplace_back(line); }
    void on_end(const std::string&, Result<> given) override { result = std::move(given); }
    std::vector<std::string> lines;
    std::optional<Result<>> result;
  };
  const std::string spec = R"({"steps": [{"kind": "uv_pip_install", "arguments": ["numpy"]}]})";
  const auto lost = std::make_shared<Watch>(), good = std::make_shared<Watch>();
  control->build_image(spec, lost);
  node.lose();
  ASSERT_TRUE(lost->result && !lost->result->ok());
  EXPECT_EQ(lost->result->error().code, ErrorCode::unavailable);
  node.builds.clear();
  node.connect();
  control->build_image(spec, good);
  until([&] { return good->result.has_value(); });
  EXPECT_TRUE(good->result->ok());
  EXPECT_EQ(good->lines, std::vector<std::string>{"building"});
}

TEST_F(LiveDeployments, DrainsByEndingCallsAndContainersAndWritingTheBill) {
  must_deploy("docs", {function("slow"), function("echo")});
  Caller running, refused;
  must_start("docs", "slow", running);
  until_running();
  bool drained = false;
  control->begin_drain([&] { drained = true; });
  const auto late = start("docs", "echo", refused);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::unavailable);
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_FALSE(drained) << "a call still runs";

  FakeContainer& container = node.only();
  const FrameHeader input = container.inputs[0].header;
  container.runner->send(FrameType::result, "1", input.stream, input.attempt);
  until([&] {
    clock.advance(Duration::milliseconds(50));
    return drained;
  });
  EXPECT_TRUE(running.result);
  EXPECT_TRUE(node.containers.empty());
  EXPECT_FALSE(bill({CostGroup::app}).empty());
}

TEST_F(LiveDeployments, KnowsAKeyAfterItIsDurable) {
  const std::string key = generate_key();
  EXPECT_NE(key, generate_key());
  EXPECT_EQ(control->authenticate(key).error().code, ErrorCode::unauthenticated);
  const auto ensure = [&] {
    return wait_for<Ok>([&](auto done) { control->ensure_key(key, "default", done); });
  };
  ASSERT_TRUE(ensure().ok());
  const auto id = control->authenticate(key);
  ASSERT_TRUE(id.ok());
  EXPECT_FALSE(control->authenticate(key.substr(1)).ok());
  EXPECT_FALSE(control->authenticate("").ok());
  EXPECT_FALSE(control->authenticate(std::string(100'000, 'k')).ok());

  close();
  open();
  ASSERT_TRUE(ensure().ok());
  EXPECT_EQ(*control->authenticate(key), *id);
}

class LiveKeys : public LiveDeployments {
 protected:
  Result<std::string> create(const std::string& name, std::int64_t lifetime_ms = 0) {
    return wait_for<std::string>([&](auto done) {
      control->create_key(dump_json({{"name", name}, {"lifetime_ms", lifetime_ms}}), done);
    });
  }
  JsonValue listed() { return json(control->keys_json())["keys"]; }
  Result<std::string> revoke(const std::string& key) {
    return wait_for<std::string>([&](auto done) { control->revoke_key(key, done); });
  }
  void ensure(const std::string& text) {
    const auto done = wait_for<Ok>([&](auto then) { control->ensure_key(text, "own", then); });
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
};

TEST_F(LiveKeys, AreMadeAndOpenUntilTheyAreRevoked) {
  const JsonValue made = json(*create("ci"));
  const std::string text = made["key"];
  const auto id = control->authenticate(text);
  ASSERT_TRUE(id.ok());
  EXPECT_EQ(made["key_id"], id->text());
  EXPECT_EQ(made["workspace"], "default");
  EXPECT_EQ(control->keys_json().find(text), std::string::npos) << "it is shown once";
  EXPECT_EQ(create("ci").error().code, ErrorCode::conflict);
  EXPECT_EQ(create("no name").error().code, ErrorCode::invalid_argument);

  const std::uint64_t changes = control->key_changes();
  std::optional<Result<std::string>> revoked;
  control->revoke_key("ci", [&](auto given) { revoked = std::move(given); });
  EXPECT_EQ(control->authenticate(text).error().code, ErrorCode::unauthenticated)
      << "at once, not when it is on disk";
  EXPECT_GT(control->key_changes(), changes);
  until([&] { return revoked.has_value(); });
  EXPECT_TRUE(revoked->ok());
  EXPECT_EQ(revoke("ci").error().code, ErrorCode::not_found);
  EXPECT_TRUE(create("ci").ok()) << "the name is free again";

  close();
  open();
  EXPECT_THAT(control->authenticate(text).error().message, HasSubstr("revoked"));
  EXPECT_EQ(json(control->keys_json())["keys"].size(), 2u);
}

TEST_F(LiveKeys, ThatWereGivenALifetimeOpenUntilItEnds) {
  constexpr std::int64_t kMinuteMs = 60'000;
  const JsonValue made = json(*create("ci", kMinuteMs));
  EXPECT_EQ(made["expires_ms"].get<std::int64_t>() - made["created_ms"].get<std::int64_t>(),
            kMinuteMs);
  EXPECT_EQ(made["state"], "usable");
  EXPECT_EQ(create("ci").error().code, ErrorCode::conflict);
  close();
  open();
  const std::string text = made["key"];
  EXPECT_TRUE(control->authenticate(text).ok());
  clock.advance(Duration::milliseconds(kMinuteMs));
  EXPECT_THAT(control->authenticate(text).error().message, HasSubstr("expired"));
  EXPECT_EQ(listed().at(0)["state"], "expired");
  EXPECT_TRUE(create("ci").ok()) << "the name is free again";
  for (const std::int64_t lifetime_ms : {std::int64_t{-1}, std::int64_t{400} * 366 * 86'400'000}) {
    EXPECT_EQ(create("odd", lifetime_ms).error().code, ErrorCode::invalid_argument);
  }
}

TEST_F(LiveKeys, AreForgottenAMonthAfterTheyEnd) {
  const Duration day = Duration::seconds(86'400);
  const std::string own = generate_key();
  ensure(own);
  ASSERT_TRUE(create("stays").ok());
  const std::string expires = json(*create("expires", day.whole_ms()))["key"];
  const std::string revoked = json(*create("revoked"))["key"];
  clock.advance(day);
  ASSERT_TRUE(revoke("revoked").ok());
  clock.advance(day * 30);
  ASSERT_TRUE(create("first").ok());
  EXPECT_EQ(listed().size(), 5u) << "not yet: it is still told why they open nothing";
  clock.advance(Duration::seconds(1));
  ASSERT_TRUE(create("second").ok());
  EXPECT_THAT(control->authenticate(expires).error().message, HasSubstr("not known"));
  EXPECT_THAT(control->authenticate(revoked).error().message, HasSubstr("not known"));
  EXPECT_EQ(listed().size(), 4u);
  close();
  open();
  EXPECT_EQ(listed().size(), 4u) << "on disk too";
}

TEST_F(LiveKeys, OfTheDataDirectoryThatIsRevokedIsRefusedAndNotForgotten) {
  const std::string own = generate_key();
  ensure(own);
  const std::string id = control->authenticate(own)->text();
  close();
  clock.advance(Duration::seconds(1));
  open();
  ensure(generate_key());
  ASSERT_TRUE(revoke(id).ok());
  close();
  clock.advance(Duration::seconds(31 * 86'400));
  open();
  const auto again = wait_for<Ok>([&](auto then) { control->ensure_key(own, "own", then); });
  EXPECT_EQ(again.error().code, ErrorCode::conflict);
}

TEST_F(LiveKeys, OfTheDataDirectoryCannotBeRevokedUntilItHasAnother) {
  const std::string own = generate_key();
  ensure(own);
  EXPECT_EQ(revoke("own").error().code, ErrorCode::conflict);
  EXPECT_TRUE(control->authenticate(own).ok());
  const std::string id = control->authenticate(own)->text();
  close();
  clock.advance(Duration::seconds(1));
  open();
  ensure(generate_key());
  EXPECT_TRUE(revoke(id).ok());
  EXPECT_FALSE(control->authenticate(own).ok());
}

TEST(KeyText, TellsAKeyThatWasNotCopiedWhole) {
  const std::string key = generate_key();
  EXPECT_NE(key, generate_key());
  EXPECT_EQ(key.size(), 65u);
  EXPECT_TRUE(key.starts_with("ember_"));
  EXPECT_FALSE(is_damaged_key(key));
  for (std::size_t i = 6; i < key.size(); ++i) {
    std::string wrong = key;
    wrong[i] = wrong[i] == '7' ? '8' : '7';
    EXPECT_TRUE(is_damaged_key(wrong)) << i;
  }
  EXPECT_TRUE(is_damaged_key(key.substr(0, 64)));
  EXPECT_FALSE(is_damaged_key("em-an-earlier-one"));
  EXPECT_THAT(KeyRing().authenticate(key.substr(0, 64), Time{}).error().message,
              HasSubstr("not whole"));
}

TEST(KeyRing, RefusesKeysThatAreRevokedOrHaveExpired) {
  KeyRing ring;
  std::uint64_t id = 1;
  const auto add = [&](const std::string& text, Time expires, Time revoked) {
    ring.add({KeyId{id++}, kDefaultWorkspace, "k", hex(sha256(text)), Time{0}, expires, revoked});
  };
  add("good", Time::from_ms(10), Time{});
  add("gone", Time::never(), Time::from_ms(1));
  EXPECT_TRUE(ring.authenticate("good", Time::from_ms(9)).ok());
  EXPECT_THAT(ring.authenticate("good", Time::from_ms(10)).error().message, HasSubstr("expired"));
  EXPECT_THAT(ring.authenticate("gone", Time::from_ms(0)).error().message, HasSubstr("revoked"));
}

TEST_F(LiveDeployments, AShellHasAnAppOfItsOwnThatRunsNoneOfTheFunctionsCode) {
  must_deploy("docs", {function("echo", R"("env": {"A": "b"}, "max_containers": 7)")});
  std::set<std::string> names;
  for (int i = 0; i < 3; ++i) {  // all at one moment of the clock
    const auto opened =
        wait_for<std::string>([&](auto done) { control->open_shell("docs", "echo", done); });
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    const std::string name = json(*opened)["app"];
    EXPECT_TRUE(name.starts_with("docs-shell-")) << name;
    names.insert(name);
  }
  EXPECT_EQ(names.size(), 3u);
  until([&] { return node.containers.size() == 3; });
  const ContainerSpec& spec = node.containers.begin()->second.spec;
  const JsonValue told = json(spec.function_json);
  EXPECT_EQ(told["module"], "ember.runner._shell");
  EXPECT_EQ(told["function"], "echo");
  EXPECT_EQ(spec.env, (Environment{{"A", "b"}}));
  for (const auto& [app, name] : {std::pair("docs", "nothing"), std::pair("nowhere", "echo")}) {
    const auto refused = wait_for<std::string>(
        [&, app = app, name = name](auto done) { control->open_shell(app, name, done); });
    EXPECT_EQ(refused.error().code, ErrorCode::not_found) << app;
  }
}

}  // namespace
}  // namespace ember
