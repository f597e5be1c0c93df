// Items of generator functions on their way to clients, in each form, as fast as these read.
#include <gtest/gtest.h>

#include "gateway/test_client.h"

namespace ember {
namespace {

constexpr std::string_view kEvents = "Accept: text/event-stream\r\n";
constexpr std::string_view kPickle =
    "Content-Type: application/x-ember-pickle\r\nAccept: application/x-ember-items\r\n";
constexpr std::string_view kWatched =
    "Content-Type: application/x-ember-pickle\r\nAccept: application/x-ember-watched\r\n";

std::string frame(char kind, const std::string& bytes) {
  std::string text(1, kind);
  for (int shift = 0; shift < 32; shift += 8) {
    text.push_back(static_cast<char>(bytes.size() >> shift));
  }
  return text + bytes;
}

class ItemsTest : public GatewayTest {
 protected:
  FakeControl::StartedCall& start(TestClient& client, std::string_view extra = {}) {
    const std::size_t before = control.calls.size();
    EXPECT_TRUE(client.send(request("POST", "/fn/shop/words", "{}", extra)));
    EXPECT_TRUE(turn_until([&] { return control.calls.size() > before; }));
    return control.calls.back();
  }
  static void give(const FakeControl::StartedCall& call, std::string item) {
    call.waiter->on_item({BodyFormat::json, std::move(item)});
  }
  void end(const FakeControl::StartedCall& call) {
    CallReport report = control.report(call);
    report.is_stream = true;
    report.items = 2;
    call.waiter->on_result({}, report);
  }
  void fail(const FakeControl::StartedCall& call) {
    CallFailure failure{{ErrorCode::container_crashed, "the stream broke"}};
    call.waiter->on_failure(std::move(failure), control.report(call));
  }
};

TEST_F(ItemsTest, ComeOneALineAsTheyAreYielded) {
  TestClient client = connect();
  auto& call = start(client);
  give(call, R"({"word": "a"})");
  const auto response = client.read();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.field("Content-Type"), "application/x-ndjson");
  EXPECT_EQ(response.field("Ember-Call-Id"), "fc-0000000000001");
  EXPECT_EQ(response.field("X-Accel-Buffering"), "no");
  EXPECT_EQ(client.read_chunk(), "{\"word\": \"a\"}\n");
  give(call, "[1,\n2]");
  EXPECT_EQ(client.read_chunk(), "[1, 2]\n");
  end(call);
  EXPECT_EQ(client.read_chunk(), "");
  start(client);  // on the same connection
}

TEST_F(ItemsTest, ComeAsServerSentEventsWithTheReportAtTheEnd) {
  TestClient client = connect();
  auto& call = start(client, kEvents);
  give(call, "[1,\r\n2]");
  EXPECT_EQ(client.read().field("Content-Type"), "text/event-stream");
  EXPECT_EQ(client.read_chunk(), "data: [1,  2]\n\n");
  end(call);
  const std::string last = client.read_chunk();
  EXPECT_TRUE(last.starts_with("event: end\ndata: {\"call_id\": \"fc-0000000000001\"")) << last;
  EXPECT_NE(last.find("\"items\": 2"), std::string::npos);
  EXPECT_NE(last.find("\"cost_usd\": \"0.000000123\""), std::string::npos);
  EXPECT_EQ(client.read_chunk(), "");
}

TEST_F(ItemsTest, ComeAsFramesToTheSdk) {
  TestClient client = connect();
  auto& call = start(client, kPickle);
  const std::string pickle("\x80\x05\x0a\x00.", 5);
  give(call, pickle);
  EXPECT_EQ(client.read().field("Content-Type"), "application/x-ember-items");
  EXPECT_EQ(client.read_chunk(), frame(1, pickle));
  fail(call);
  const std::string last = client.read_chunk();
  EXPECT_EQ(last[0], 2);
  EXPECT_NE(last.find(R"({"error": {"code": "container_crashed")"), std::string::npos) << last;
}

TEST_F(ItemsTest, EndInAnErrorThatTheStreamTells) {
  TestClient lines = connect(), events = connect();
  auto& first = start(lines);
  auto& second = start(events, kEvents);
  for (auto* call : {&first, &second}) {
    give(*call, "1");
    fail(*call);
  }
  EXPECT_EQ(lines.read().status, 200);
  EXPECT_EQ(lines.read_chunk(), "1\n");
  EXPECT_TRUE(lines.read_chunk().starts_with(R"({"error": {"code": "container_crashed")"));
  EXPECT_EQ(lines.read_chunk(), "");
  events.read();
  events.read_chunk();
  EXPECT_TRUE(events.read_chunk().starts_with("event: error\ndata: {\"error\": "));
}

TEST_F(ItemsTest, HaveAPlainErrorInTheirPlaceBeforeTheFirst) {
  TestClient client = connect();
  fail(start(client, kEvents));
  const auto response = client.read();
  EXPECT_EQ(response.status, 502);
  EXPECT_EQ(response.field("Content-Type"), "application/json");
}

TEST_F(ItemsTest, MayBeNoneAtAll) {
  TestClient client = connect();
  end(start(client));
  EXPECT_EQ(client.read().field("Content-Type"), "application/x-ndjson");
  EXPECT_EQ(client.read_chunk(), "");
}

TEST_F(ItemsTest, EndWithTheConnectionForClientsWithoutChunks) {
  TestClient client = connect();
  EXPECT_TRUE(
      client.send("POST /fn/shop/words HTTP/1.0\r\nHost: localhost\r\n"
                  "Authorization: Bearer ek-good\r\nConnection: keep-alive\r\n\r\n"));
  ASSERT_TRUE(turn_until([&] { return !control.calls.empty(); }));
  give(control.calls.back(), "1");
  const auto response = client.read();
  EXPECT_EQ(response.field("Transfer-Encoding"), "");
  EXPECT_EQ(response.field("Connection"), "close");
  end(control.calls.back());
  EXPECT_EQ(client.read_raw(2), "1\n");
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(ItemsTest, AreAcceptedOnceTheyHaveLeftAndNotBefore) {
  constexpr std::uint32_t kItems = 64;
  constexpr std::size_t kBytes = 1u << 20;  // together more than sockets hold
  TestClient client = connect();
  auto& call = start(client);
  for (std::uint32_t i = 0; i < kItems; ++i) give(call, std::string(kBytes, 'x'));
  turn_until([&] { return control.accepted.items > 0; });
  for (int i = 0; i < 100; ++i) loop.poll();
  const std::uint32_t before = control.accepted.items;
  EXPECT_LT(before, kItems);
  tick(static_cast<int>(options.limits.write_stall_seconds) + 2);  // it may take its time
  client.read();
  for (std::uint32_t i = 0; i < kItems; ++i) ASSERT_EQ(client.read_chunk().size(), kBytes + 1);
  EXPECT_TRUE(turn_until([&] { return control.accepted.items == kItems; }));
  EXPECT_EQ(control.accepted.bytes, kItems * kBytes);
  EXPECT_TRUE(control.abandoned.empty());
}

TEST_F(ItemsTest, AreNotWantedAnyMoreOnceTheClientHasLeft) {
  TestClient client = connect();
  auto& call = start(client);
  give(call, "1");
  client.read();
  client.hang_up();
  EXPECT_TRUE(turn_until([&] { return !control.abandoned.empty(); }));
  EXPECT_EQ(control.abandoned.front(), call.id);
}

TEST_F(ItemsTest, AreFollowedBySignsOfLifeWhileNoneComes) {
  TestClient lines = connect(), events = connect(), frames = connect();
  auto& first = start(lines);
  auto& second = start(events, kEvents);
  auto& third = start(frames, kPickle);
  for (auto* call : {&first, &second, &third}) give(*call, "1");
  for (auto* client : {&lines, &events, &frames}) {
    client->read();
    client->read_chunk();
  }
  tick(static_cast<int>(options.limits.stream_blank_seconds) + 1);
  EXPECT_EQ(lines.read_chunk(), "\n");
  EXPECT_EQ(events.read_chunk(), ":\n\n");
  EXPECT_EQ(frames.read_chunk(), frame(0, ""));
}

TEST_F(ItemsTest, AreAskedForByTheFieldsOfTheRequest) {
  const std::pair<std::string_view, CallWants> asked[] = {
      {"", CallWants::either},
      {"Accept: */*\r\n", CallWants::either},
      {"Accept: application/json, text/plain, */*\r\n", CallWants::either},
      {"Accept: application/json\r\n", CallWants::result},
      {"Accept: application/x-ndjson;q=0.9\r\n", CallWants::items},
      {kEvents, CallWants::either},
      {"Accept: application/x-ember-items\r\n", CallWants::either},
      {"Content-Type: application/x-ember-pickle\r\n", CallWants::result},
      {kPickle, CallWants::items},
      {kWatched, CallWants::either},
      {"Accept: application/x-ember-watched; gives=result\r\n", CallWants::result},
      {"Accept: application/x-ember-watched;gives=items\r\n", CallWants::items}};
  for (const auto& [fields, wants] : asked) {
    TestClient client = connect();
    EXPECT_EQ(start(client, fields).wants, wants) << fields;
  }
}

// --- while it waits ---

TEST_F(ItemsTest, ArePrecededByWhereTheCallIsWhileItWaits) {
  control.status = {CallPhase::starting, 3, "waits for 1 container to start",
                    Duration::milliseconds(1500)};
  TestClient client = connect();
  auto& call = start(client, kEvents);
  EXPECT_EQ(client.read().field("Ember-Call-Id"), "fc-0000000000001");
  EXPECT_EQ(
      client.read_chunk(),
      "event: status\ndata: {\"phase\": \"starting\", \"ahead\": 3, \"left_ms\": 1500, \"reason\": "
      "\"waits for 1 container to start\"}\n\n");
  tick(1);  // nothing has changed
  control.status.ahead = 2;
  control.status.left = {};
  tick(1);
  EXPECT_NE(client.read_chunk().find("\"ahead\": 2, \"left_ms\": null"), std::string::npos);
  give(call, "1");
  EXPECT_NE(client.read_chunk().find("\"phase\": \"running\""), std::string::npos);
  EXPECT_EQ(client.read_chunk(), "data: 1\n\n");
}

TEST_F(ItemsTest, AreOneResultOfAPlainFunctionWhoseCallerWasToldOfTheWaiting) {
  control.status = {CallPhase::queued, 0, "waits for resources"};
  TestClient client = connect();
  auto& call = start(client, kEvents);
  client.read();
  client.read_chunk();
  call.waiter->on_result({BodyFormat::json, "{\"a\":\n1}"}, control.report(call));
  client.read_chunk();  // it runs
  EXPECT_TRUE(client.read_chunk().starts_with("event: result\ndata: {\"a\": 1}\n\nevent: end\n"));
}

TEST_F(ItemsTest, AreFramesTooWhereTheSdkWatchesACallOfEitherKind) {
  control.status = {CallPhase::queued, 1, "waits for resources"};
  TestClient client = connect();
  auto& call = start(client, kWatched);
  EXPECT_EQ(client.read().field("Content-Type"), "application/x-ember-watched");
  EXPECT_EQ(client.read_chunk(), frame(4, R"({"phase": "queued", "ahead": 1, "left_ms": null, )"
                                          R"("reason": "waits for resources"})"));
  call.waiter->on_result({BodyFormat::pickle, "\x80."}, control.report(call));
  EXPECT_EQ(client.read_chunk()[0], 4);
  EXPECT_TRUE(client.read_chunk().starts_with(frame(6, "\x80.") + '\x03'));
  EXPECT_EQ(client.read_chunk(), "");
}

TEST_F(ItemsTest, AreNotFramesOfACallThatHadNotToWait) {
  TestClient client = connect();
  auto& call = start(client, kWatched);
  call.waiter->on_result({BodyFormat::pickle, "\x80."}, control.report(call));
  const auto response = client.read();
  EXPECT_EQ(response.field("Content-Type"), "application/x-ember-pickle");
  EXPECT_EQ(response.body, "\x80.");
}

TEST_F(ItemsTest, HaveTheWordsOfTheFunctionBetweenThem) {
  TestClient client = connect();
  auto& call = start(client, kEvents);
  give(call, "1");
  client.read();
  EXPECT_EQ(client.read_chunk(), "data: 1\n\n");
  call.waiter->on_progress(R"({"step": 2})");
  EXPECT_EQ(client.read_chunk(), "event: progress\ndata: {\"step\": 2}\n\n");
  give(call, "2");
  EXPECT_EQ(client.read_chunk(), "data: 2\n\n");
}

TEST_F(ItemsTest, AreOneResultOfAPlainFunctionThatSaidHowFarItIs) {
  TestClient client = connect();
  auto& call = start(client, kEvents);
  call.waiter->on_progress(R"({"step": 1})");
  EXPECT_EQ(client.read().field("Content-Type"), "text/event-stream");
  EXPECT_EQ(client.read_chunk(), "event: progress\ndata: {\"step\": 1}\n\n");
  call.waiter->on_result({BodyFormat::json, "5"}, control.report(call));
  EXPECT_TRUE(client.read_chunk().starts_with("event: result\ndata: 5\n\nevent: end\n"));
}

TEST_F(ItemsTest, HaveTheLastOfTheWordsThatAClientDidNotReadInTime) {
  constexpr std::size_t kBytes = 8u << 20;  // more than sockets hold
  TestClient client = connect();
  auto& call = start(client, kEvents);
  give(call, std::string(kBytes, 'x'));
  for (int step = 0; step < 1000; ++step) {
    call.waiter->on_progress("{\"step\": " + std::to_string(step) + "}");
    loop.poll();
  }
  client.read();
  EXPECT_EQ(client.read_chunk().size(), kBytes + 8);
  EXPECT_EQ(client.read_chunk(), "event: progress\ndata: {\"step\": 999}\n\n");
  end(call);
  EXPECT_TRUE(client.read_chunk().starts_with("event: end\n"));
}

TEST_F(ItemsTest, OfOthersHaveNoWordOfTheWaiting) {
  control.status = {CallPhase::queued, 0, "waits for resources"};
  TestClient client = connect();
  auto& call = start(client);
  call.waiter->on_progress(R"({"step": 1})");
  call.waiter->on_result({BodyFormat::json, "1"}, control.report(call));
  EXPECT_EQ(client.read().body, "1");
}

}  // namespace
}  // namespace ember
