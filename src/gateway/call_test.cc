// The warm path: POST /fn/{app}/{function}.
#include <gtest/gtest.h>

#include <vector>

#include "gateway/client_calls.h"
#include "gateway/test_client.h"

namespace ember {
namespace {

class CallTest : public GatewayTest {
 protected:
  // Sends a call and waits until control has it.
  FakeControl::StartedCall& start(TestClient& client, std::string_view body = R"({"a": 1})",
                                  std::string_view extra = {}) {
    const std::size_t before = control.calls.size();
    EXPECT_TRUE(client.send(request("POST", "/fn/shop/price", body, extra)));
    EXPECT_TRUE(turn_until([&] { return control.calls.size() > before; }));
    return control.calls.back();
  }
  void answer(const FakeControl::StartedCall& call, std::string json) {
    call.waiter->on_result({BodyFormat::json, std::move(json)}, control.report(call));
  }
};

TEST_F(CallTest, HandsArgumentsOverAndTheResultBack) {
  TestClient client = connect();
  auto& call = start(client);
  EXPECT_EQ(call.app, "shop");
  EXPECT_EQ(call.function, "price");
  EXPECT_EQ(call.arguments.format, BodyFormat::json);
  EXPECT_EQ(call.arguments.bytes, R"({"a": 1})");
  answer(call, "[1, 2]");
  const auto response = client.read();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "[1, 2]");
  EXPECT_EQ(response.field("Content-Type"), "application/json");
  EXPECT_EQ(response.field("Ember-Call-Id"), "fc-0000000000001");
  EXPECT_EQ(response.field("Ember-Container-Id"), "ct-0000000000007");
  EXPECT_EQ(response.field("Ember-Cold"), "true");
  EXPECT_EQ(response.field("Ember-Cost-Usd"), "0.000000123");
  EXPECT_EQ(response.field("Ember-Start-Cost-Usd"), "1.500000000");
  EXPECT_EQ(response.field("Ember-Gpu"), "L4 (simulated)");
  EXPECT_EQ(response.field("Ember-Attempt"), "2");
  EXPECT_EQ(response.field("Server-Timing"),
            "queue;dur=1.250, boot;dur=12.000, load;dur=34.000, execute;dur=2000.003, "
            "total;dur=2001.253");
  EXPECT_EQ(response.field("Date"), "Tue, 14 Nov 2023 22:13:20 GMT");
}

TEST_F(CallTest, NamesTheVariantOfTheQuery) {
  TestClient client = connect();
  ASSERT_TRUE(client.send(request("POST", "/fn/shop/Model.price?variant=va-1", "{}")));
  ASSERT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  EXPECT_EQ(control.calls.back().function, "Model.price");
  EXPECT_EQ(control.calls.back().variant, "va-1");
  answer(control.calls.back(), "1");
  EXPECT_EQ(client.read().status, 200);
  EXPECT_EQ(start(client).variant, "");
}

TEST_F(CallTest, TellsTheCodeOfAVariantThatIsNotKnown) {
  control.refuse_calls = CallFailure{{ErrorCode::not_found, "register it again"}};
  control.refuse_calls->told_code = kUnknownVariant;
  const auto response = ask("POST", "/fn/shop/price?variant=va-1", "{}");
  EXPECT_EQ(response.status, 404);
  EXPECT_NE(response.body.find(R"("code": "unknown_variant")"), std::string::npos);
}

TEST_F(CallTest, PassesPickleThroughUntouched) {
  TestClient client = connect();
  const std::string pickle("\x80\x05\x00\x0d\x0a.", 6);
  auto& call = start(client, pickle, "Content-Type: application/x-ember-pickle\r\n");
  EXPECT_EQ(call.arguments.format, BodyFormat::pickle);
  EXPECT_EQ(call.arguments.bytes, pickle);
  call.waiter->on_result({BodyFormat::pickle, pickle}, control.report(call));
  const auto response = client.read();
  EXPECT_EQ(response.field("Content-Type"), "application/x-ember-pickle");
  EXPECT_EQ(response.body, pickle);
}

TEST_F(CallTest, TakesWhatCurlSendsByDefaultAsJson) {
  TestClient client = connect();
  auto& call = start(client, "{}", "Content-Type: application/x-www-form-urlencoded\r\n");
  EXPECT_EQ(call.arguments.format, BodyFormat::json);
}

TEST_F(CallTest, TakesNoBodyAsNoArguments) {
  TestClient client = connect();
  EXPECT_EQ(start(client, "").arguments.bytes, "{}");
}

TEST_F(CallTest, RefusesABodyThatIsNoObjectBeforeItStartsAnything) {
  for (const char* body : {"[1]", "1", "\"{}\"", "   ", "nonsense"}) {
    const auto response = ask("POST", "/fn/shop/price", body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_NE(response.body.find("invalid_argument"), std::string::npos);
  }
  EXPECT_TRUE(control.calls.empty());
}

TEST_F(CallTest, RefusesOtherMediaTypes) {
  EXPECT_EQ(ask("POST", "/fn/shop/price", "x", "Content-Type: text/html\r\n").status, 415);
}

TEST_F(CallTest, ServesManyOnOneConnection) {
  TestClient client = connect();
  for (int i = 0; i < 100; ++i) {
    answer(start(client), std::to_string(i));
    EXPECT_EQ(client.read().body, std::to_string(i));
  }
  EXPECT_EQ(server().open_connections(), 1u);
}

TEST_F(CallTest, AnswersPipelinedCallsInOrderAndOneAtATime) {
  TestClient client = connect();
  std::string three;
  for (const char* name : {"a", "b", "c"}) {
    three += request("POST", std::string("/fn/shop/") + name, R"({"x": 1})");
  }
  client.send(three);
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_TRUE(turn_until(
        [&] { return !control.calls.empty() && control.calls.back().function == name; }));
    const std::size_t started = control.calls.size();
    loop.poll();
    EXPECT_EQ(control.calls.size(), started) << "the next call waits for this one's answer";
    answer(control.calls.back(), std::string("\"") + name + "\"");
    EXPECT_EQ(client.read().body, std::string("\"") + name + "\"");
  }
}

TEST_F(CallTest, ReadsARequestThatComesByteByByte) {
  TestClient client = connect();
  const std::string text = request("POST", "/fn/shop/price", R"({"slow": true})");
  for (const char c : text) {
    client.send(std::string_view(&c, 1));
    loop.poll();
  }
  ASSERT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  EXPECT_EQ(control.calls[0].arguments.bytes, R"({"slow": true})");
}

TEST_F(CallTest, CarriesLargeBodiesBothWays) {
  TestClient client = connect();
  std::string large = "{\"x\": \"" + std::string(20u << 20, 'x') + "\"}";
  auto& call = start(client, large);
  EXPECT_TRUE(call.arguments.bytes == large);
  answer(call, large);
  const auto response = client.read();
  EXPECT_EQ(response.body.size(), large.size());
  EXPECT_TRUE(response.body == large);
}

TEST_F(CallTest, ReadsAChunkedBody) {
  TestClient client = connect();
  client.send(
      "POST /fn/shop/price HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ek-good\r\n"
      "Transfer-Encoding: chunked\r\n\r\n4;name=value\r\n{\"a\"\r\n");
  loop.poll();
  client.send("4\r\n: 1}\r\n0\r\nTrailer: ignored\r\nHost: elsewhere\r\n\r\n");
  ASSERT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  EXPECT_EQ(control.calls[0].arguments.bytes, R"({"a": 1})");
  answer(control.calls[0], "1");
  EXPECT_EQ(client.read().status, 200);
}

TEST_F(CallTest, CancelsTheCallOfAClientThatHangsUp) {
  TestClient client = connect();
  const CallId id = start(client).id;
  client.hang_up();
  EXPECT_TRUE(turn_until([&] { return control.abandoned == std::vector{id}; }));
  EXPECT_EQ(server().open_connections(), 0u);
}

TEST_F(CallTest, CancelsTheCallOfAClientThatSentMoreBeforeItHungUp) {
  TestClient client = connect();
  const CallId id = start(client).id;
  client.send(request("GET", "/api/v1/apps"));
  client.hang_up();
  EXPECT_TRUE(turn_until([&] { return control.abandoned == std::vector{id}; }));
}

TEST_F(CallTest, AbandonsRunningCallsWhenTheServerGoes) {
  auto own = Server::listen(loop, control, options);
  ASSERT_TRUE(own.ok());
  TestClient client(loop, (*own)->port());
  start(client);
  *own = nullptr;
  EXPECT_EQ(control.abandoned.size(), 1u);
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(CallTest, TellsARefusalOfControlWithRetryAfter) {
  control.refuse_calls =
      CallFailure{{ErrorCode::resource_exhausted, "the queue is full; try later"}};
  const auto response = ask("POST", "/fn/shop/price", "{}");
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.field("Retry-After"), "1");
  EXPECT_EQ(response.body,
            "{\"error\": {\"code\": \"resource_exhausted\", \"message\": \"the "
            "queue is full; try later\"}}\n");
}

TEST_F(CallTest, TellsWhichLimitWasReachedAndWhenToComeBack) {
  control.refuse_calls =
      CallFailure{{ErrorCode::resource_exhausted, "full"}, {}, 42, {"queue_limit", 10}};
  const auto response = ask("POST", "/fn/shop/price", "{}");
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.field("Retry-After"), "42");
  EXPECT_EQ(response.field("X-RateLimit-Limit"), "10");
  EXPECT_EQ(response.field("X-RateLimit-Remaining"), "0");
  EXPECT_EQ(response.field("X-RateLimit-Reset"), "42");
  EXPECT_EQ(response.body,
            "{\"error\": {\"code\": \"resource_exhausted\", \"message\": \"full\", "
            "\"limit\": {\"name\": \"queue_limit\", \"value\": 10}}}\n");
}

TEST_F(CallTest, SaysWhoseKeyItIs) {
  TestClient client = connect();
  EXPECT_EQ(start(client).caller, KeyId{1});
}

TEST_F(CallTest, HoldsOnlySoManyThatThereIsRoomForAllElse) {
  options.limits.connections = 20;  // 18 calls, so at most 14 of one caller
  std::vector<TestClient> clients;
  for (int i = 0; i < 14; ++i) start(clients.emplace_back(connect()));
  const auto refused = ask("POST", "/fn/shop/price", "{}");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.field("X-RateLimit-Limit"), "18");
  EXPECT_NE(refused.body.find(R"("name": "client_calls")"), std::string::npos) << refused.body;
  EXPECT_EQ(ask("GET", "/healthz").status, 200);

  answer(control.calls.front(), "1");  // an answer makes room, and so does a client that goes
  EXPECT_EQ(clients.front().read().status, 200);
  start(clients.front());
  clients.back().hang_up();
  ASSERT_TRUE(turn_until([&] { return control.abandoned.size() == 1; }));
  TestClient other = connect();
  start(other);
  EXPECT_EQ(ask("POST", "/fn/shop/price", "{}").status, 429);
}

TEST_F(CallTest, HoldsOnlySoManyBytesOfArguments) {
  options.limits.client_call_bytes = 1'000;
  const std::string large = "{\"x\": \"" + std::string(700, 'x') + "\"}";
  TestClient one = connect();
  auto& call = start(one, large);
  const auto refused = ask("POST", "/fn/shop/price", large);
  EXPECT_EQ(refused.status, 429);
  EXPECT_NE(refused.body.find(R"("name": "client_call_bytes")"), std::string::npos) << refused.body;
  TestClient two = connect();
  start(two, "{}");
  answer(call, "1");
  EXPECT_EQ(one.read().status, 200);
  start(one, large);
}

TEST(ClientCalls, KeepsRoomForCallersThatCome) {
  ClientCalls held({.calls = 100, .bytes = 1'000'000});
  const auto fill = [&](KeyId caller) {
    int count = 0;
    for (; !held.refusal(caller, 1); ++count) held.add(caller, 1);
    return count;
  };
  EXPECT_EQ(fill(KeyId{1}), 80);
  EXPECT_EQ(fill(KeyId{2}), 16);
  EXPECT_EQ(fill(KeyId{3}), 3);
  for (int i = 0; i < 80; ++i) held.remove(KeyId{1}, 1);
  EXPECT_EQ(fill(KeyId{2}) + 16, 77);  // of the 97 that the third has left
}

struct FailureCase {
  ErrorCode code;
  std::string body;
  int status;
  std::string shown_code;
  int asked_status = 0;  // by the body
};

class FailureTest : public CallTest, public ::testing::WithParamInterface<FailureCase> {};

TEST_P(FailureTest, BecomesAStatusWithTheRunnersBodyInside) {
  TestClient client = connect();
  auto& call = start(client);
  call.waiter->on_failure(
      {{GetParam().code, "why"}, GetParam().body, 7, {}, GetParam().asked_status},
      control.report(call));
  const auto response = client.read();
  EXPECT_EQ(response.status, GetParam().status);
  EXPECT_EQ(response.field("Ember-Call-Id"), "fc-0000000000001");
  std::string expected = R"({"error": {"code": ")" + GetParam().shown_code +
                         R"(", "message": "why", "call_id": "fc-0000000000001")";
  if (!GetParam().body.empty()) expected += R"(, "exception": )" + GetParam().body;
  EXPECT_EQ(response.body, expected + "}}\n");
  const bool later = response.status == 429 || response.status == 503 || response.status == 507;
  EXPECT_EQ(response.field("Retry-After"), later ? "7" : "");
}

INSTANTIATE_TEST_SUITE_P(
    Call, FailureTest,
    ::testing::Values(
        FailureCase{ErrorCode::user_exception, R"({"kind": "user_exception", "status": 500})", 500,
                    "user_exception"},
        FailureCase{ErrorCode::user_exception, R"({"kind": "user_exception", "status": 418})", 418,
                    "user_exception", 418},
        FailureCase{ErrorCode::invalid_argument, R"({"kind": "bad_arguments", "status": 500})", 400,
                    "invalid_argument"},
        FailureCase{ErrorCode::timed_out, "", 504, "timed_out"},
        FailureCase{ErrorCode::cancelled, "", 499, "cancelled"},
        FailureCase{ErrorCode::container_crashed, "", 502, "container_crashed"},
        FailureCase{ErrorCode::out_of_memory, "", 502, "out_of_memory"},
        FailureCase{ErrorCode::start_failed, R"({"kind": "load_failed"})", 500, "start_failed"},
        FailureCase{ErrorCode::unavailable, "", 503, "unavailable"},
        FailureCase{ErrorCode::resource_exhausted, "", 429, "resource_exhausted"},
        FailureCase{ErrorCode::storage_failed, "", 507, "storage_failed"},
        FailureCase{ErrorCode::internal, "", 500, "internal"}));

}  // namespace
}  // namespace ember
