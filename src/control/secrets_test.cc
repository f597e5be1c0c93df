// Secrets, from what a request says to what a runner is sent.
#include "control/secrets.h"

#include <fstream>
#include <sstream>

#include "control/control_fixture.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kCanary = "canary-5b1e0a";
constexpr const char* kUsesDb = R"("secrets": [{"name": "db", "required_keys": ["PASSWORD"]}])";

// One secret of a frame.
std::string group(const std::string& mount, const std::string& key, const std::string& value) {
  std::string text;
  const auto put = [&text](std::size_t number, int bytes) {
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(number >> (8 * i));
  };
  put(mount.size(), 2);
  text += mount;
  put(8 + key.size() + value.size(), 4);
  put(key.size(), 4);
  text += key;
  put(value.size(), 4);
  return text + value;
}

class SecretsTest : public ControlTest {
 protected:
  Result<std::string> create(const std::string& name, JsonValue values) {
    const std::string request = dump_json({{"name", name}, {"values", std::move(values)}});
    return wait_for<std::string>([&](auto done) { control->create_secret(request, done); });
  }
  void must_create(const std::string& name, JsonValue values) {
    const auto made = create(name, std::move(values));
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_THAT(*made, Not(HasSubstr(kCanary)));
  }
  Result<std::string> remove(const std::string& name, bool force = false) {
    return wait_for<std::string>([&](auto done) { control->delete_secret(name, force, done); });
  }
  Result<std::string> rollback(const std::string& app, std::uint32_t version) {
    return wait_for<std::string>(
        [&](auto done) { control->rollback(app, version, Rollout::recreate, done); });
  }
  JsonValue secrets() { return json(control->secrets_json())["secrets"]; }
  static std::string brings_values(const std::string& value) {
    return R"("secrets": [{"values": {"TOKEN": ")" + value + R"("}}])";
  }
  static JsonValue password() { return {{"PASSWORD", kCanary}}; }
  // Everything that lies on the disk.
  std::string disk() {
    std::ostringstream all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory.path())) {
      if (entry.is_regular_file()) all << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    }
    return std::move(all).str();
  }
};

TEST_F(SecretsTest, AreShownByTheirKeysAndVersionsAlone) {
  must_create("db", password());
  must_create("db", {{"PASSWORD", kCanary}, {"USER", "ada"}});
  must_create("mail", {{"KEY", kCanary}});
  ASSERT_EQ(secrets().size(), 2u);
  EXPECT_EQ(secrets()[0]["name"], "db");
  EXPECT_EQ(secrets()[0]["version"], 2);
  EXPECT_EQ(secrets()[0]["keys"], json(R"(["PASSWORD", "USER"])"));
  const auto shown = json(*control->secret_json("db"));
  ASSERT_EQ(shown["versions"].size(), 2u);
  EXPECT_EQ(shown["versions"][0]["version"], 2);
  EXPECT_EQ(shown["versions"][1]["keys"], json(R"(["PASSWORD"])"));
  EXPECT_THAT(control->secrets_json() + shown.dump(), Not(HasSubstr(kCanary)));
  EXPECT_EQ(control->secret_json("none").error().code, ErrorCode::not_found);
}

TEST_F(SecretsTest, GoToTheRunnerOnceItHasSaidHello) {
  must_create("db", password());
  must_deploy("docs", {function("echo", R"("secrets": [{"name": "db"},
      {"name": "db", "mount": "/run/secrets/db"}])")});
  Caller caller;
  call("docs", "echo", caller);
  ASSERT_TRUE(caller.result);
  EXPECT_THAT(node.only().secrets, ElementsAre(group("", "PASSWORD", kCanary) +
                                               group("/run/secrets/db", "PASSWORD", kCanary)));
  EXPECT_THAT(node.only().spec.function_json, HasSubstr(R"("secrets":2)"));
  EXPECT_THAT(node.only().spec.function_json, Not(HasSubstr(kCanary)));
}

TEST_F(SecretsTest, LieOnTheDiskSealedAlone) {
  must_create("db", password());
  must_deploy("docs", {function("echo", brings_values(kCanary))});
  Caller caller;
  call("docs", "echo", caller);
  EXPECT_THAT(node.only().secrets, ElementsAre(group("", "TOKEN", kCanary)));
  EXPECT_THAT(disk(), Not(HasSubstr(kCanary)));
  EXPECT_THAT(disk(), HasSubstr("PASSWORD"));  // names may be seen
  EXPECT_THAT(*control->app_json("docs") + control->containers_json(), Not(HasSubstr(kCanary)));
}

TEST_F(SecretsTest, ThatAreMissingRefuseADeployWithTheCommandThatMakesThem) {
  auto refused = deploy("docs", {function("echo", kUsesDb)});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::not_found);
  EXPECT_THAT(refused.error().message, HasSubstr("echo needs the secret \"db\""));
  EXPECT_THAT(refused.error().message, HasSubstr("ember secret create db PASSWORD=-"));

  must_create("db", {{"USER", "ada"}});
  refused = deploy("docs", {function("echo", kUsesDb)});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("echo needs PASSWORD in the secret \"db\""));
  EXPECT_THAT(refused.error().message, HasSubstr("which has USER"));

  must_create("db", password());
  must_deploy("docs", {function("echo", kUsesDb)});
}

TEST_F(SecretsTest, OfAnotherAppCannotBeNamedById) {
  must_deploy("docs", {function("echo", brings_values(kCanary))});
  const std::string id = secrets()[0]["secret_id"];
  const auto refused =
      deploy("other", {function("echo", R"("secrets": [{"id": ")" + id + R"("}])")});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
}

TEST_F(SecretsTest, ReachNewContainersAsTheyAreThen) {
  must_create("db", {{"PASSWORD", "old"}});
  must_deploy("docs", {function("echo", kUsesDb)});
  Caller first, second;
  call("docs", "echo", first);
  must_create("db", {{"PASSWORD", "new"}});
  node.end(node.ids()[0], 0);
  must_start("docs", "echo", second);
  until([&] {
    pass(Duration::seconds(1));
    return second.done();
  });
  EXPECT_THAT(node.only().secrets, ElementsAre(group("", "PASSWORD", "new")));
}

TEST_F(SecretsTest, AreDeletedWhileUsedByForceAlone) {
  must_create("db", password());
  must_deploy("docs", {function("echo", kUsesDb)});
  EXPECT_EQ(secrets()[0]["used_by"], json(R"(["docs.echo"])"));
  const auto refused = remove("db");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("docs.echo"));
  EXPECT_TRUE(remove("db", true).ok());
  EXPECT_THAT(secrets(), IsEmpty());
  EXPECT_EQ(remove("db").error().code, ErrorCode::not_found);
  must_create("db", password());
  EXPECT_EQ(secrets()[0]["version"], 1);
}

TEST_F(SecretsTest, ThatHaveGoneFailTheCallsOfNewContainers) {
  must_create("db", password());
  must_deploy("docs", {function("echo", kUsesDb)});
  ASSERT_TRUE(remove("db", true).ok());
  Caller caller;
  must_start("docs", "echo", caller);
  until([&] {
    pass(Duration::seconds(1));
    return caller.done();
  });
  ASSERT_TRUE(caller.failure);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::start_failed);
  EXPECT_THAT(caller.failure->error.message, HasSubstr("ember secret create db PASSWORD=-"));
  EXPECT_TRUE(node.containers.empty());
}

TEST_F(SecretsTest, ThatGoWhileAContainerStartsEndIt) {
  must_create("db", password());
  must_deploy("docs", {function("echo", kUsesDb)});
  Caller caller;
  must_start("docs", "echo", caller);
  until([&] { return !node.starts.empty(); });
  // Before the node starts it, and so before its runner says hello.
  bool gone = false;
  control->delete_secret("db", true, [&](const Result<std::string>& done) { gone = done.ok(); });
  while (!gone) {
    loop->restart();
    loop->run_one_for(std::chrono::milliseconds(1));
  }
  until([&] {
    pass(Duration::seconds(1));
    return caller.done();
  });
  ASSERT_TRUE(caller.failure);
  EXPECT_EQ(caller.failure->error.code, ErrorCode::start_failed);
}

TEST_F(SecretsTest, AreSentAgainWhereTheServerWentAwayMeanwhile) {
  must_create("db", password());
  must_deploy("docs", {function("echo", kUsesDb)});
  Caller caller;
  must_start("docs", "echo", caller);
  until([&] { return node.containers.size() == 1; });
  ASSERT_THAT(node.only().secrets, IsEmpty());
  close();
  open();
  node.reconnect_runners();
  until([&] { return !node.only().secrets.empty() && node.only().loaded; });
  EXPECT_THAT(node.only().secrets, ElementsAre(group("", "PASSWORD", kCanary)));
}

TEST_F(SecretsTest, OutliveARestartWithTheirVersions) {
  must_create("db", password());
  must_create("db", password());
  must_deploy("docs", {function("echo", brings_values(kCanary))});
  const JsonValue before = secrets();
  close();
  open();
  EXPECT_EQ(secrets(), before);
  EXPECT_EQ(json(*control->secret_json("db"))["versions"].size(), 2u);
  Caller caller;
  call("docs", "echo", caller);
  EXPECT_THAT(node.only().secrets, ElementsAre(group("", "TOKEN", kCanary)));
}

TEST_F(SecretsTest, WithAnotherKeyDoNotOpenAndNoneIsSealedUntilTheyAreGone) {
  must_create("db", password());
  must_deploy("docs", {function("echo", kUsesDb)});
  const auto right = master_key;
  for (const bool has_key : {true, false}) {
    close();
    master_key = has_key ? std::optional(MasterKey::generate()) : std::nullopt;
    open();
    EXPECT_THAT(control->status_json(), HasSubstr("secrets: 1 of 1"));
    EXPECT_EQ(secrets()[0]["opens"], false);
    const auto refused = create("mail", {{"KEY", kCanary}});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::conflict);
    EXPECT_THAT(refused.error().message, HasSubstr("master key"));
    EXPECT_FALSE(deploy("docs", {function("echo", kUsesDb)}).ok());
    EXPECT_FALSE(deploy("other", {function("echo", brings_values(kCanary))}).ok());
  }
  close();
  master_key = right;
  open();
  EXPECT_THAT(control->status_json(), Not(HasSubstr("secrets:")));
  pass(Duration::seconds(1));
  must_create("mail", {{"KEY", kCanary}});

  close();
  master_key = MasterKey::generate();
  open();
  EXPECT_TRUE(remove("db", true).ok());
  EXPECT_TRUE(remove("mail").ok());
  must_create("db", password());
}

TEST_F(SecretsTest, OfAnEphemeralAppGoWithIt) {
  must_deploy("run", {function("echo", brings_values(kCanary))}, /*ephemeral=*/true);
  ASSERT_EQ(secrets().size(), 1u);
  EXPECT_TRUE(secrets()[0]["name"].is_null());
  const auto stopped = wait_for<std::string>([&](auto done) { control->stop_app("run", done); });
  ASSERT_TRUE(stopped.ok());
  EXPECT_THAT(secrets(), IsEmpty());
  close();
  open();
  EXPECT_THAT(secrets(), IsEmpty());
}

TEST_F(SecretsTest, ThatCameWithAVersionComeBackWithIt) {
  must_deploy("docs", {function("echo", brings_values("first"))});
  must_deploy("docs", {function("echo", brings_values("second"))});
  ASSERT_TRUE(rollback("docs", 1).ok());
  Caller caller;
  call("docs", "echo", caller);
  EXPECT_THAT(node.only().secrets, ElementsAre(group("", "TOKEN", "first")));
}

TEST_F(SecretsTest, OfVersionsLongPastGo) {
  must_deploy("docs", {function("echo", brings_values("first"))});
  for (int i = 0; i < 30; ++i) {
    pass(Duration::seconds(1));
    must_deploy("docs", {function("echo", brings_values("later"))});
  }
  EXPECT_LE(secrets().size(), 22u);
  EXPECT_GE(secrets().size(), 20u);
  const auto refused = rollback("docs", 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("deploy it again"));
  ASSERT_TRUE(rollback("docs", 30).ok());
}

TEST_F(SecretsTest, AreRefusedWithoutATraceOfWhatTheyHold) {
  for (const std::string request :
       {R"({"name": "db"})", R"({"name": "db", "values": {}})",
        R"({"values": {"A": "canary-5b1e0a"}})",
        R"({"name": "/", "values": {"A": "canary-5b1e0a"}})",
        R"({"name": "db", "values": {"A": ["canary-5b1e0a"]}})",
        R"({"name": "db", "values": "canary-5b1e0a"})", R"({"canary-5b1e0a)"}) {
    const auto refused =
        wait_for<std::string>([&](auto done) { control->create_secret(request, done); });
    ASSERT_FALSE(refused.ok()) << request;
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(refused.error().message, Not(HasSubstr(kCanary)));
  }
}

}  // namespace
}  // namespace ember
