// Ends of calls, told to URLs: on disk with the end, sent until somebody takes it, whatever becomes
// of the server meanwhile.
#include <openssl/hmac.h>
#include <sodium.h>

#include "control/async_calls.h"
#include "control/control_fixture.h"
#include "control/flaky_store.h"
#include "control/webhook_service.h"

namespace ember {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kUrl = "https://hooks.example.org/in";
using Sent = FakeWebhookSender::Sent;

class WebhooksTest : public ControlTest {
 protected:
  Store& wrapped_store() override { return flaky; }
  void SetUp() override {
    ControlTest::SetUp();
    control->set_url("http://ember:7777");
    must_deploy("docs", {function("echo"), function("raise"), function("slow")});
  }

  static AsyncRequest request(const std::string& name, const std::string& url = kUrl) {
    return {.app = "docs",
            .function = name,
            .arguments = {BodyFormat::json, R"({"page": 7})"},
            .webhook = url};
  }
  StartedCall spawn(AsyncRequest wanted) {
    std::optional<StartedCall> started;
    control->async_calls().spawn(
        std::move(wanted), [&](StartedCall call, Acceptance) { started.emplace(std::move(call)); });
    until([&] { return started.has_value(); });
    return *started;
  }
  CallId must_spawn(const std::string& name, const std::string& url = kUrl) {
    const StartedCall started = spawn(request(name, url));
    EXPECT_TRUE(started.ok()) << (started.ok() ? "" : started.error().message);
    return started.ok() ? *started : CallId{};
  }
  // The one that is sent next, which the test answers.
  Sent next() {
    until([&] { return receivers.sent.size() > taken; });
    return receivers.sent.size() > taken ? receivers.sent[taken++] : Sent{};
  }
  // Nothing is sent, however long the store and the loop go on.
  void expect_silence() {
    for (int i = 0; i < 20; ++i) turn();
    EXPECT_EQ(receivers.sent.size(), taken);
  }

  using Document = Result<std::string>;
  JsonValue listed(std::optional<WebhookState> state = {}) {
    const auto text =
        wait_for<std::string>([&](auto done) { control->webhooks().list(state, 100, done); });
    return json(*text)["webhooks"];
  }
  JsonValue only() {
    const JsonValue all = listed();
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? JsonValue() : all[0];
  }
  void until_state(const std::string& state) {
    until([&] { return only()["state"] == state; });
  }
  Document replay(CallId call) {
    return wait_for<std::string>(
        [&](auto done) { control->webhooks().replay(WebhookId{call.value}, done); });
  }
  JsonValue secret() {
    return json(*wait_for<std::string>([&](auto done) { control->webhooks().secret(done); }));
  }
  JsonValue rotate(Duration overlap) {
    return json(*wait_for<std::string>(
        [&](auto done) { control->webhooks().rotate_secret(overlap, done); }));
  }

  // What the receiver works out with the key that it was given, in its own way.
  static std::string signature(const JsonValue& secret, const Sent& sent) {
    const std::string text = secret["secret"].get<std::string>().substr(6);
    unsigned char key[64];
    std::size_t size = 0;
    EXPECT_EQ(sodium_base642bin(key, sizeof key, text.data(), text.size(), nullptr, &size, nullptr,
                                sodium_base64_VARIANT_ORIGINAL),
              0);
    const std::string signed_text =
        sent.field("webhook-id") + "." + sent.field("webhook-timestamp") + "." + sent.post.body;
    unsigned char digest[32];
    unsigned digest_size = 0;
    HMAC(EVP_sha256(), key, static_cast<int>(size),
         reinterpret_cast<const unsigned char*>(signed_text.data()), signed_text.size(), digest,
         &digest_size);
    char encoded[64];
    sodium_bin2base64(encoded, sizeof encoded, digest, digest_size, sodium_base64_VARIANT_ORIGINAL);
    return std::string("v1,") + encoded;
  }

  FlakyStore flaky{store};
  std::size_t taken = 0;  // of what was sent
};

TEST_F(WebhooksTest, TellOfTheEndAndOfAResultThatIsSmallJson) {
  const CallId call = must_spawn("echo");
  const Sent sent = next();
  EXPECT_EQ(sent.post.url.host, "hooks.example.org");
  EXPECT_EQ(sent.post.url.target, "/in");
  const JsonValue body = json(sent.post.body);
  EXPECT_EQ(body["type"], "call.succeeded");
  EXPECT_THAT(body["timestamp"].get<std::string>(),
              testing::MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z"));
  const JsonValue& data = body["data"];
  EXPECT_EQ(data["call_id"], call.text());
  EXPECT_EQ(data["app"], "docs");
  EXPECT_EQ(data["function"], "echo");
  EXPECT_EQ(data["state"], "succeeded");
  EXPECT_EQ(data["result"], json(R"({"page": 7})"));
  EXPECT_TRUE(data["error"].is_null());
  EXPECT_EQ(data["url"], "http://ember:7777/api/v1/calls/" + call.text() + "/result");
  EXPECT_EQ(sent.field("webhook-id"), WebhookId{call.value}.text());
  sent.answer(204);
  until_state("delivered");
  EXPECT_EQ(only()["tries"], 1);
  EXPECT_EQ(only()["status"], 204);
  expect_silence();
}

TEST_F(WebhooksTest, TellOfFailureAndCancellation) {
  must_spawn("raise");
  const Sent failed = next();
  EXPECT_EQ(json(failed.post.body)["type"], "call.failed");
  EXPECT_EQ(json(failed.post.body)["data"]["error"]["code"], "user_exception");
  EXPECT_FALSE(json(failed.post.body)["data"].contains("result"));
  failed.answer(200);
  const CallId slow = must_spawn("slow");
  EXPECT_TRUE(control->cancel_call(slow).ok());
  EXPECT_EQ(json(next().post.body)["type"], "call.cancelled");
}

TEST_F(WebhooksTest, LeaveALargeResultOut) {
  AsyncRequest large = request("echo");
  large.arguments.bytes = "\"" + std::string(20'000, 'x') + "\"";
  ASSERT_TRUE(spawn(std::move(large)).ok());
  const JsonValue body = json(next().post.body);
  EXPECT_EQ(body["data"]["state"], "succeeded");
  EXPECT_FALSE(body["data"].contains("result"));
}

TEST_F(WebhooksTest, LeaveOutWhatARunnerOnlyCallsJson) {
  AsyncRequest broken = request("echo");
  broken.arguments.bytes = R"({"a": 1}, "state": "failed")";
  ASSERT_TRUE(spawn(std::move(broken)).ok());
  const JsonValue body = json(next().post.body);
  EXPECT_EQ(body["data"]["state"], "succeeded");
  EXPECT_FALSE(body["data"].contains("result"));
}

TEST_F(WebhooksTest, AreSignedWithTheWorkspacesKey) {
  const JsonValue key = secret();
  EXPECT_THAT(key["secret"].get<std::string>(), testing::MatchesRegex("whsec_[A-Za-z0-9+/]{43}="));
  must_spawn("echo");
  const Sent sent = next();
  EXPECT_EQ(sent.field("webhook-timestamp"), std::to_string(clock.now().us / 1'000'000));
  EXPECT_EQ(sent.field("webhook-signature"), signature(key, sent));
  close();
  open();
  EXPECT_EQ(secret(), key);
}

TEST_F(WebhooksTest, AreSignedWithTwoKeysForAWhileAfterARotation) {
  const JsonValue old = secret();
  const JsonValue fresh = rotate(Duration::seconds(3600));
  EXPECT_NE(fresh["secret"], old["secret"]);
  EXPECT_EQ(fresh["version"], 2);
  EXPECT_EQ(fresh["previous_until_ms"], (clock.now() + Duration::seconds(3600)).whole_ms());
  must_spawn("echo");
  const Sent both = next();
  EXPECT_EQ(both.field("webhook-signature"), signature(old, both) + " " + signature(fresh, both));
  both.answer(200);
  pass(Duration::seconds(3600));
  must_spawn("echo");
  const Sent one = next();
  EXPECT_EQ(one.field("webhook-signature"), signature(fresh, one));
  EXPECT_TRUE(secret()["previous_until_ms"].is_null());
}

TEST_F(WebhooksTest, AreTriedAgainWithOneIdUntilSomebodyTakesThem) {
  must_spawn("echo");
  const Sent first = next();
  first.answer(500);
  until([&] { return only()["tries"] == 1; });
  EXPECT_EQ(only()["state"], "waiting");
  EXPECT_EQ(only()["outcome"], "it answered 500");
  expect_silence();
  pass(Duration::seconds(6));
  const Sent second = next();
  EXPECT_EQ(second.field("webhook-id"), first.field("webhook-id"));
  EXPECT_NE(second.field("webhook-timestamp"), first.field("webhook-timestamp"));
  EXPECT_EQ(second.post.body, first.post.body);
  second.answer(200);
  until_state("delivered");
}

TEST_F(WebhooksTest, AreDeadAfterTheLastTryAndMayBeReplayed) {
  const CallId call = must_spawn("echo");
  std::string id;
  for (std::uint32_t tries = 1; tries <= kWebhookTries; ++tries) {
    const Sent sent = next();
    id = sent.field("webhook-id");
    sent.done(Error{ErrorCode::unavailable, "cannot connect"});
    until([&] { return only()["tries"] == tries; });
    for (int i = 0; i < 27 * 60 && only()["state"] == "waiting"; ++i) {
      if (receivers.sent.size() > taken) break;
      pass(Duration::seconds(60));
      for (int turns = 0; turns < 3; ++turns) turn();
    }
  }
  until_state("dead");
  EXPECT_EQ(only()["outcome"], "cannot connect");
  EXPECT_TRUE(only()["next_try_ms"].is_null());
  EXPECT_EQ(listed(WebhookState::dead).size(), 1u);
  pass(Duration::seconds(7 * 24 * 3600));
  expect_silence();
  EXPECT_TRUE(replay(call).ok());
  const Sent again = next();
  EXPECT_EQ(again.field("webhook-id"), id);
  EXPECT_EQ(replay(call).error().code, ErrorCode::conflict);
  again.answer(500);
  until([&] { return only()["tries"] == kWebhookTries + 1; });
  EXPECT_EQ(only()["state"], "waiting");
}

TEST_F(WebhooksTest, AreGivenUpAtOnceWhereTheReceiverIsGone) {
  must_spawn("echo");
  next().answer(410);
  until_state("dead");
  EXPECT_EQ(only()["tries"], 1);
}

TEST_F(WebhooksTest, AreCountedAndThoseThatWaitAlsoOverARestart) {
  const auto counts = [this] { return control->webhooks().counts(); };
  must_spawn("echo");
  Sent sent = next();
  EXPECT_EQ(counts().waiting, 1);
  sent.answer(500);
  until([&] { return counts().failed_tries == 1; });
  EXPECT_EQ(counts().waiting, 1);
  close();
  open();
  node.reconnect_runners();
  EXPECT_EQ(counts().waiting, 1);
  pass(Duration::seconds(10));
  next().answer(410);
  until([&] { return counts().dead == 1; });
  EXPECT_EQ(counts().waiting, 0);
  must_spawn("echo");
  next().answer(200);
  until([&] { return counts().delivered == 1; });
  EXPECT_EQ(counts().waiting, 0);
  EXPECT_EQ(counts().failed_tries, 1u) << "since this server began";
}

TEST_F(WebhooksTest, WaitAsLongAsTheReceiverAsksFor) {
  must_spawn("echo");
  next().answer(503, Duration::seconds(600));
  until([&] { return only()["tries"] == 1; });
  pass(Duration::seconds(599));
  expect_silence();
  pass(Duration::seconds(2));
  EXPECT_EQ(next().post.url.host, "hooks.example.org");
}

TEST_F(WebhooksTest, OutliveTheServerThatSentThem) {
  const CallId call = must_spawn("echo");
  const Sent lost = next();
  close();
  open();
  const Sent again = next();
  EXPECT_EQ(again.field("webhook-id"), WebhookId{call.value}.text());
  EXPECT_EQ(again.post.body, lost.post.body);
  again.answer(200);
  until_state("delivered");
  close();
  open();
  expect_silence();
}

TEST_F(WebhooksTest, OfCallsThatEndAfterARestartAreSentToo) {
  must_spawn("slow");
  until_running();
  close();
  open();
  node.reconnect_runners();
  until_running();
  FakeContainer& container = node.only();
  const FrameHeader header = container.inputs.front().header;
  container.inputs.clear();
  container.runner->send(FrameType::result, "7", header.stream, header.attempt);
  EXPECT_EQ(json(next().post.body)["data"]["result"], 7);
}

TEST_F(WebhooksTest, KeepTheirPlaceUntilTheDiskKnowsHowFarTheyHaveCome) {
  must_spawn("echo");
  const Sent sent = next();
  flaky.full = true;
  sent.answer(200);
  expect_silence();
  flaky.full = false;
  pass(Duration::seconds(2));
  until_state("delivered");
  expect_silence();
}

TEST_F(WebhooksTest, OfOneReceiverThatHangsKeepNoOtherWaiting) {
  for (int i = 0; i < 12; ++i) must_spawn("echo", "https://hangs.example.org/");
  for (int i = 0; i < 8; ++i) EXPECT_EQ(next().post.url.host, "hangs.example.org");
  expect_silence();
  must_spawn("echo");
  EXPECT_EQ(next().post.url.host, "hooks.example.org");
  receivers.sent[0].answer(200);
  EXPECT_EQ(next().post.url.host, "hangs.example.org");
}

TEST_F(WebhooksTest, TakeAllPlacesTogetherAndNoMore) {
  for (int i = 0; i < 80; ++i) {
    must_spawn("echo", "https://r" + std::to_string(i) + ".example.org/");
  }
  until([&] { return listed(WebhookState::waiting).size() == 80; });
  until([&] { return receivers.sent.size() == 64; });
  taken = 64;
  expect_silence();
  receivers.sent[0].answer(200);
  next();
}

TEST_F(WebhooksTest, AreRefusedWithTheirCallWhereTheyCannotGo) {
  for (const char* url : {"ftp://example.org/", "http://127.0.0.1:9000/", "http://[::1]/",
                          "http://169.254.169.254/latest/meta-data/", "http://10.1.2.3/"}) {
    const StartedCall refused = spawn(request("echo", url));
    ASSERT_FALSE(refused.ok()) << url;
    EXPECT_THAT(refused.error().message, HasSubstr("webhook: "));
  }
  EXPECT_TRUE(listed().empty());
}

TEST_F(WebhooksTest, AreRefusedWithoutAMasterKey) {
  close();
  master_key.reset();
  open();
  const StartedCall refused = spawn(request("echo"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
}

TEST_F(WebhooksTest, WaitForTheMasterKeyThatSealedTheirs) {
  const JsonValue key = secret();
  must_spawn("echo");
  next();
  close();
  const auto right = std::exchange(master_key, MasterKey::generate());
  open();
  EXPECT_FALSE(spawn(request("echo")).ok());
  expect_silence();
  close();
  master_key = right;
  open();
  const Sent sent = next();
  EXPECT_EQ(sent.field("webhook-signature"), signature(key, sent));
}

TEST_F(WebhooksTest, MakeAnotherRequestOfOneIdempotencyKey) {
  AsyncRequest first = request("echo");
  first.idempotency_key = "pay-1";
  AsyncRequest other = first;
  other.webhook = "https://other.example.org/";
  const StartedCall call = spawn(first);
  EXPECT_EQ(*spawn(first), *call);
  EXPECT_EQ(spawn(other).refusal().status, 422);
}

TEST_F(WebhooksTest, AreShownWithWhatTheyTell) {
  const CallId call = must_spawn("echo");
  const Sent sent = next();
  const auto shown = wait_for<std::string>(
      [&](auto done) { control->webhooks().show(WebhookId{call.value}, done); });
  EXPECT_EQ(json(*shown)["body"], sent.post.body);
  const auto document =
      wait_for<std::string>([&](auto done) { control->async_calls().show(call, done); });
  EXPECT_EQ(json(*document)["webhook_id"], WebhookId{call.value}.text());
}

TEST_F(WebhooksTest, AreNotWaitedForAtADrain) {
  must_spawn("echo");
  next();
  bool drained = false;
  control->begin_drain([&] { drained = true; });
  for (int i = 0; i < 40; ++i) turn();
  EXPECT_FALSE(drained);
  pass(Duration::seconds(3));
  until([&] {
    pass(Duration::milliseconds(100));
    return drained;
  });
}

}  // namespace
}  // namespace ember
