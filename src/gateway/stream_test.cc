// Answers that come in pieces: builds and logs.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gateway/test_client.h"

namespace ember {
namespace {

using nlohmann::json;

class StreamTest : public GatewayTest {
 protected:
  TestClient follow() {
    TestClient client = connect();
    client.send(request("GET", "/api/v1/logs?app=shop&function=price&last=5&follow=true"));
    EXPECT_TRUE(turn_until([&] { return control.followers.size() == 1; }));
    return client;
  }
  LogQuery followed(const std::string& words) {
    TestClient client = connect();
    client.send(request("GET", "/api/v1/logs?app=shop&follow=true&" + words));
    EXPECT_TRUE(turn_until([&] { return control.followers.size() == 1; }));
    return control.followers.at(0).query;
  }
  TestClient build() {
    TestClient client = connect();
    client.send(request("POST", "/api/v1/images", R"({"base": "host"})"));
    EXPECT_TRUE(turn_until([&] { return control.build != nullptr; }));
    return client;
  }
  static LogLine line(std::string text) {
    return {Time::from_ms(5), "shop",   "price",        ContainerId{1},
            CallId{2},        "stdout", std::move(text)};
  }
};

TEST_F(StreamTest, PassesOnWhatLinesAreAskedFor) {
  const LogQuery query = followed("since_ms=1500&search=time%20out");
  EXPECT_EQ(query.since, Time::from_ms(1500));
  EXPECT_EQ(query.until, Time::never());
  EXPECT_EQ(query.search, "time out");
}

TEST_F(StreamTest, SendsABuildsLinesAsTheyComeAndItsEnd) {
  TestClient client = build();
  control.build->on_line("Resolved \"numpy\"\n\xff");
  const auto head = client.read();
  EXPECT_EQ(head.field("Content-Type"), "application/x-ndjson");
  EXPECT_EQ(head.field("Transfer-Encoding"), "chunked");
  EXPECT_EQ(json::parse(client.read_chunk()), (json{{"line", "Resolved \"numpy\"\n\ufffd"}}));
  control.build->on_end("im-1", Ok{});
  EXPECT_EQ(json::parse(client.read_chunk()), (json{{"image_id", "im-1"}, {"ready", true}}));
  EXPECT_EQ(client.read_chunk(), "");
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 200) << "the connection goes on";
}

TEST_F(StreamTest, EndsAFailedBuildWithItsError) {
  TestClient client = build();
  control.build->on_end("im-1", Error{ErrorCode::internal, "uv failed"});
  EXPECT_EQ(client.read().status, 200);
  EXPECT_EQ(json::parse(client.read_chunk()),
            (json{{"image_id", "im-1"},
                  {"ready", false},
                  {"error", {{"code", "internal"}, {"message", "uv failed"}}}}));
}

TEST_F(StreamTest, AnswersABuildThatIsRefusedAtOnceLikeAnyOtherError) {
  TestClient client = build();
  control.build->on_end("", Error{ErrorCode::invalid_argument, "no such step"});
  EXPECT_EQ(client.read().status, 400);
}

TEST_F(StreamTest, ABuildOutlivesItsClient) {
  TestClient client = build();
  client.hang_up();
  ASSERT_TRUE(turn_until([&] { return server().open_connections() == 0; }));
  control.build->on_line("nobody hears this");
  control.build->on_end("im-1", Ok{});
}

TEST_F(StreamTest, GivesPastLogsAsOneDocumentPerLine) {
  control.past_lines = {line("one"), line("<b>\x1b[31m\xc3\x28")};
  control.past_lines[1].call = {};
  const auto response = ask("GET", "/api/v1/logs?app=shop&last=2");
  EXPECT_EQ(response.field("Content-Type"), "application/x-ndjson");
  EXPECT_EQ(control.asked.back(), "logs shop 2");
  const std::size_t end = response.body.find('\n');
  EXPECT_EQ(json::parse(response.body.substr(0, end)), (json{{"at_ms", 5},
                                                             {"app", "shop"},
                                                             {"function", "price"},
                                                             {"container_id", "ct-0000000000001"},
                                                             {"call_id", "fc-0000000000002"},
                                                             {"stream", "stdout"},
                                                             {"text", "one"}}));
  const json second = json::parse(response.body.substr(end + 1));
  EXPECT_EQ(second["call_id"], nullptr);
  EXPECT_EQ(second["text"], "<b>\x1b[31m\ufffd(");
}

TEST_F(StreamTest, FollowsLogsAfterWhatWasThere) {
  control.past_lines = {line("before")};
  TestClient client = follow();
  EXPECT_EQ(control.followers[0].query.function, "price");
  EXPECT_EQ(client.read().status, 200);
  EXPECT_EQ(json::parse(client.read_chunk())["text"], "before");
  control.followers[0].follower->on_line(line("after"));
  EXPECT_EQ(json::parse(client.read_chunk())["text"], "after");
}

TEST_F(StreamTest, KeepsLinesInOrderThatComeWhileOlderOnesAreRead) {
  control.answer_later = true;
  TestClient client = follow();
  control.followers[0].follower->on_line(line("second"));
  ASSERT_EQ(control.pending_logs.size(), 1u);
  control.pending_logs[0](std::vector<LogLine>{line("first")});
  control.followers[0].follower->on_line(line("third"));
  client.read();
  for (const char* text : {"first", "second", "third"}) {
    EXPECT_EQ(json::parse(client.read_chunk())["text"], text);
  }
}

TEST_F(StreamTest, TellsHowManyLinesALimitHasKeptOut) {
  control.past_lines = {line("… 7 lines (70 B) dropped")};
  control.past_lines[0].dropped = {7, 70};
  const json document = json::parse(ask("GET", "/api/v1/logs?app=shop").body);
  EXPECT_EQ(document["log_lines_dropped"], 7);
  EXPECT_EQ(document["log_bytes_dropped"], 70);
}

TEST_F(StreamTest, StopsFollowingWhenTheClientLeaves) {
  TestClient client = follow();
  client.read();
  EXPECT_FALSE(control.followers[0].subscription.expired());
  client.hang_up();
  EXPECT_TRUE(turn_until([&] { return control.followers[0].subscription.expired(); }));
  control.followers[0].follower->on_line(line("nobody hears this"));
}

TEST_F(StreamTest, KeepsASilentStreamAliveWithBlankLines) {
  TestClient client = follow();
  client.read();
  tick(15);
  EXPECT_EQ(client.read_chunk(), "\n");
  for (int second = 0; second < 1000; ++second) {
    tick(1);
    loop.poll();
  }
  EXPECT_EQ(server().open_connections(), 1u) << "silence is no reason to close";
}

TEST_F(StreamTest, LeavesLinesOutForAClientThatReadsTooSlowlyAndSaysSo) {
  options.limits.stream_queue_bytes = 100'000;
  TestClient client = follow();
  client.read();
  const std::string text(10'000, 'x');
  constexpr int kLines = 2000;
  for (int i = 0; i < kLines; ++i) {
    control.followers[0].follower->on_line(line(text));
    loop.poll();
  }
  int read = 0;
  std::uint64_t dropped = 0;
  while (read + static_cast<int>(dropped) < kLines) {
    // The notice leaves with the next line that fits.
    const json document = json::parse(client.read_chunk());
    if (document.contains("log_lines_dropped")) {
      EXPECT_EQ(document["stream"], "system");
      dropped += document["log_lines_dropped"].get<std::uint64_t>();
    } else {
      ++read;
    }
    if (server().open_connections() == 0) break;
    if (read % 50 == 0) control.followers[0].follower->on_line(line("more"));
  }
  EXPECT_GT(dropped, 0u);
}

TEST_F(StreamTest, ClosesAFollowerThatReadsNothing) {
  TestClient client = follow();
  client.read();
  const std::string text(100'000, 'x');
  for (int i = 0; i < 200; ++i) {
    control.followers[0].follower->on_line(line(text));
    loop.poll();
  }
  tick(31);
  EXPECT_EQ(server().open_connections(), 0u);
  EXPECT_TRUE(control.followers[0].subscription.expired());
}

TEST_F(StreamTest, StreamsToHttp10UntilTheClose) {
  TestClient client = connect();
  client.send(
      "POST /api/v1/images HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer ek-good\r\n\r\n");
  ASSERT_TRUE(turn_until([&] { return control.build != nullptr; }));
  control.build->on_end("im-1", Ok{});
  const auto head = client.read(false);
  EXPECT_EQ(head.field("Transfer-Encoding"), "");
  EXPECT_EQ(head.field("Connection"), "close");
}

TEST_F(StreamTest, AnswersHeadOfAStreamAndCloses) {
  TestClient client = connect();
  client.send(request("HEAD", "/api/v1/logs?app=shop&follow=true"));
  EXPECT_EQ(client.read(false).status, 200);
  EXPECT_TRUE(client.closed_by_server());
  EXPECT_TRUE(control.followers[0].subscription.expired());
}

}  // namespace
}  // namespace ember
