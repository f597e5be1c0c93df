// Calls that are accepted now and asked for later: POST /fn/…?mode=async and /api/v1/calls/….
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/test_client.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class AsyncCallsTest : public GatewayTest {
 protected:
  ClientResponse ask(std::string_view method, std::string_view path, std::string_view body = {},
                     std::string_view extra = {}) {
    TestClient client = connect();
    EXPECT_TRUE(client.send(request(method, path, body, extra)));
    return client.read();
  }
  FakeAsyncCalls& fake() { return control.fake_async_calls; }
};

TEST_F(AsyncCallsTest, AreHandedOverWithAllThatWasSaidOfThem) {
  const auto response = ask("POST", "/fn/shop/price?mode=async&ttl_ms=1500", R"({"a": 1})",
                            "Idempotency-Key: order-7\r\n");
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(response.body, "{\"call_id\": \"fc-0000000000093\", \"repeated\": false}\n");
  ASSERT_EQ(fake().spawned.size(), 1u);
  const AsyncRequest& spawned = fake().spawned[0];
  EXPECT_EQ(spawned.app, "shop");
  EXPECT_EQ(spawned.function, "price");
  EXPECT_EQ(spawned.arguments.bytes, R"({"a": 1})");
  EXPECT_EQ(spawned.idempotency_key, "order-7");
  EXPECT_EQ(spawned.time_to_live, Duration::milliseconds(1500));
  EXPECT_EQ(spawned.caller, KeyId{1});
  EXPECT_TRUE(control.calls.empty());
}

TEST_F(AsyncCallsTest, DoNotTakeOverTheKeyOfTheRequestBefore) {
  TestClient client = connect();
  for (const char* extra : {"Idempotency-Key: order-7\r\n", ""}) {
    EXPECT_TRUE(client.send(request("POST", "/fn/shop/price?mode=async", "{}", extra)));
    EXPECT_EQ(client.read().status, 202);
  }
  EXPECT_EQ(fake().spawned.at(0).idempotency_key, "order-7");
  EXPECT_EQ(fake().spawned.at(1).idempotency_key, "");
}

TEST_F(AsyncCallsTest, AreDrawnWithAllThatTheyHaveMade) {
  const auto response = ask("GET", "/api/v1/calls/fc-0000000000093/graph");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, HasSubstr("\"whole\": true"));
  EXPECT_THAT(fake().asked, ElementsAre("graph fc-0000000000093"));
  EXPECT_EQ(ask("GET", "/api/v1/calls/nonsense/graph").status, 404);
}

TEST_F(AsyncCallsTest, SayWhereTheyWereMadeBefore) {
  fake().acceptance = Acceptance::repeated;
  EXPECT_THAT(ask("POST", "/fn/shop/price?mode=async", "{}").body, HasSubstr("\"repeated\": true"));
}

TEST_F(AsyncCallsTest, AreRefusedWithTheStatusOfTheRefusal) {
  CallFailure other{{ErrorCode::conflict, "another request"}, {}};
  other.status = 422;
  fake().refuse = other;
  EXPECT_EQ(ask("POST", "/fn/shop/price?mode=async", "{}").status, 422);
  fake().refuse = CallFailure{{ErrorCode::resource_exhausted, "full"}, {}, 7};
  const auto full = ask("POST", "/fn/shop/price?mode=async", "{}");
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.field("Retry-After"), "7");
}

TEST_F(AsyncCallsTest, TakeNoUnknownModesTimesAndKeys) {
  EXPECT_EQ(ask("POST", "/fn/shop/price?mode=later", "{}").status, 400);
  EXPECT_EQ(ask("POST", "/fn/shop/price?mode=async&ttl_ms=0", "{}").status, 400);
  EXPECT_EQ(ask("POST", "/fn/shop/price?mode=async&ttl_ms=x", "{}").status, 400);
  EXPECT_EQ(ask("POST", "/fn/shop/price?mode=async", "[]").status, 400);
  EXPECT_EQ(
      ask("POST", "/fn/shop/price?mode=async", "{}", "Idempotency-Key: a\r\nIdempotency-Key: b\r\n")
          .status,
      400);
  EXPECT_TRUE(fake().spawned.empty());
}

TEST_F(AsyncCallsTest, SayWhoIsToldOfTheirEndAndHowUrgentTheyAre) {
  const char* path =
      "/fn/shop/price?mode=async&priority=-3&webhook=https%3A%2F%2Fa.org%2Fin%3Fx%3D1";
  EXPECT_EQ(ask("POST", path, "{}").status, 202);
  EXPECT_EQ(fake().spawned.at(0).webhook, "https://a.org/in?x=1");
  EXPECT_EQ(fake().spawned.at(0).priority.value, -3);
}

TEST_F(AsyncCallsTest, TakeAPriorityFromMinusTenToTen) {
  for (const char* wrong : {"11", "-11", "1.5", "high", "99999999999999999999", "+1", " 1"}) {
    const std::string path = "/fn/shop/price?priority=" + std::string(wrong);
    EXPECT_EQ(ask("POST", path, "{}").status, 400) << wrong;
    EXPECT_EQ(ask("POST", path + "&mode=async", "{}").status, 400) << wrong;
  }
  EXPECT_TRUE(control.calls.empty());
  TestClient client = connect();
  EXPECT_TRUE(client.send(request("POST", "/fn/shop/price?priority=10", "{}")));
  EXPECT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  EXPECT_EQ(control.calls[0].priority.value, 10);
}

TEST_F(AsyncCallsTest, AloneHaveAWebhook) {
  const auto refused = ask("POST", "/fn/shop/price?webhook=https://a.org/", "{}");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("mode=async"));
}

TEST_F(AsyncCallsTest, HaveWebhooksThatAreListedShownAndReplayed) {
  FakeWebhooks& webhooks = control.fake_webhooks;
  EXPECT_EQ(ask("GET", "/api/v1/webhooks").status, 200);
  EXPECT_EQ(ask("GET", "/api/v1/webhooks?state=dead&limit=7").status, 200);
  EXPECT_EQ(ask("POST", "/api/v1/webhooks/wh-0000000000093/replay", "{}").status, 200);
  EXPECT_EQ(ask("POST", "/api/v1/webhook-secret/rotate", "{}").status, 200);
  EXPECT_EQ(ask("POST", "/api/v1/webhook-secret/rotate?overlap_s=0", "{}").status, 200);
  EXPECT_THAT(webhooks.asked, ElementsAre("list all 50", "list dead 7", "replay wh-0000000000093",
                                          "rotate 86400 s", "rotate 0 s"));
  EXPECT_THAT(ask("GET", "/api/v1/webhook-secret").body, HasSubstr("whsec_"));
  EXPECT_EQ(ask("GET", "/api/v1/webhooks/wh-0000000000093").status, 404);
}

TEST_F(AsyncCallsTest, HaveWebhooksThatAreAskedForInTheirOneWay) {
  for (const char* path :
       {"/api/v1/webhooks?state=lost", "/api/v1/webhooks?limit=0", "/api/v1/webhooks?limit=1001"}) {
    EXPECT_EQ(ask("GET", path).status, 400) << path;
  }
  EXPECT_EQ(ask("GET", "/api/v1/webhooks/fc-0000000000093").status, 404);
  EXPECT_EQ(ask("POST", "/api/v1/webhook-secret/rotate?overlap_s=604801", "{}").status, 400);
  EXPECT_TRUE(control.fake_webhooks.asked.empty());
}

TEST_F(AsyncCallsTest, GiveTheirValueAsASynchronousCallDoes) {
  fake().outcome_told.kind = CallOutcome::Kind::value;
  fake().outcome_told.value = {BodyFormat::pickle, "\x80\x05N."};
  fake().outcome_told.report.call = CallId{0x123};
  const auto response = ask("GET", "/api/v1/calls/fc-0000000000093/result?wait_ms=500");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "\x80\x05N.");
  EXPECT_EQ(response.field("Content-Type"), "application/x-ember-pickle");
  EXPECT_EQ(response.field("Ember-Call-Id"), "fc-0000000000093");
  EXPECT_THAT(fake().asked, ElementsAre("result fc-0000000000093 500 ms"));
}

TEST_F(AsyncCallsTest, GiveTheirErrorWithItsStatus) {
  fake().outcome_told.kind = CallOutcome::Kind::failure;
  fake().outcome_told.failure = {{ErrorCode::timed_out, "too slow"}, {}};
  const auto response = ask("GET", "/api/v1/calls/fc-0000000000093/result");
  EXPECT_EQ(response.status, 504);
  EXPECT_THAT(response.body, HasSubstr("too slow"));
}

TEST_F(AsyncCallsTest, ThatHaveNotEndedAreAcceptedStill) {
  fake().outcome_told.state_json = R"({"state": "waiting"})";
  const auto response = ask("GET", "/api/v1/calls/fc-0000000000093/result");
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(response.body, "{\"state\": \"waiting\"}\n");
}

TEST_F(AsyncCallsTest, AreAskedForWithinBounds) {
  EXPECT_EQ(ask("GET", "/api/v1/calls/fc-0000000000093/result?wait_ms=60001").status, 400);
  EXPECT_EQ(ask("GET", "/api/v1/calls/nonsense/result").status, 404);
}

TEST_F(AsyncCallsTest, AreListedByTheirEndAndRunAgain) {
  EXPECT_EQ(ask("GET", "/api/v1/calls?state=dead&app=shop&limit=3").status, 200);
  EXPECT_EQ(ask("POST", "/api/v1/calls/fc-0000000000093/retry").status, 202);
  EXPECT_THAT(fake().asked,
              ElementsAre("list dead of 'shop' 3", "retry fc-0000000000093 by " + KeyId{1}.text()));
}

}  // namespace
}  // namespace ember
