// Requests to web endpoints: from a client's socket to an app and back.
#include <gtest/gtest.h>

#include "gateway/answer_head.h"
#include "gateway/test_client.h"
#include "gateway/web_server.h"

namespace ember {
namespace {

class WebTest : public ::testing::Test {
 protected:
  WebTest() {
    options.address = "127.0.0.1";
    options.port = 0;
    options.domain = "apps.example.com";
    options.wall_clock = test_wall_clock;
    web.endpoints["shop-site"] = {"shop", "site", WebAccess::open};
    web.endpoints["shop-desk"] = {"shop", "desk", WebAccess::by_key};
  }

  WebServer& server() {
    if (!server_) server_ = WebServer::listen(loop, control, options).value();
    return *server_;
  }
  TestClient connect() { return TestClient(loop, server().port()); }
  static std::string request(std::string_view line, std::string_view fields = {},
                             std::string_view label = "shop-site") {
    std::string text(line);
    text.append(" HTTP/1.1\r\nHost: ").append(label).append(".localhost:7778\r\n");
    return text.append(fields).append("\r\n");
  }
  // Sends it, and waits until an app has it.
  FakeWeb::Request& start(TestClient& client, std::string_view bytes) {
    const std::size_t before = web.requests.size();
    EXPECT_TRUE(client.send(bytes));
    EXPECT_TRUE(turn_until([&] { return web.requests.size() > before; }));
    return web.requests.back();
  }
  bool turn_until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      loop.run_one_for(std::chrono::milliseconds(1));
    }
    return true;
  }
  // What a client without a body that is refused is told.
  ClientResponse refusal(const std::string& bytes) {
    TestClient client = connect();
    EXPECT_TRUE(client.send(bytes));
    return client.read();
  }
  void tick(int seconds) {
    for (int i = 0; i < seconds; ++i) server().tick();
  }

  boost::asio::io_context loop{1};
  FakeControl control;
  FakeWeb& web = control.fake_web;
  WebOptions options;

 private:
  std::unique_ptr<WebServer> server_;
};

TEST_F(WebTest, PassesARequestOnWithoutWhatWasTheConnectionsAlone) {
  TestClient client = connect();
  const auto& got =
      start(client, request("PATCH /a%20b?c=d",
                            "X-One: 1\r\nConnection: keep-alive, X-Two\r\nX-Two: 2\r\n"
                            "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Host: evil\r\n"
                            "TE: trailers\r\nAuthorization: Bearer own\r\n"));
  EXPECT_EQ(got.head,
            "PATCH /a%20b?c=d HTTP/1.1\r\nHost: shop-site.localhost:7778\r\n"
            "X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
            "X-Forwarded-Host: shop-site.localhost:7778\r\nContent-Length: 0\r\nX-One: 1\r\n"
            "Authorization: Bearer own\r\n\r\n");
  EXPECT_TRUE(got.ended);
}

TEST_F(WebTest, PassesAnAnswerOnAndTheConnectionGoesOn) {
  TestClient client = connect();
  auto& got = start(client, request("GET /"));
  got.client->on_piece("201\r\nX-A: 1\r\nx-a: 2\r\nConnection: x-b\r\nX-B: 3\r\nServer: s\r\n");
  got.client->on_piece("hello ");
  got.client->on_piece("you");
  ASSERT_TRUE(turn_until([&] { return web.accepted.items == 3; })) << "what has left is told of";
  got.client->on_end();
  const auto head = client.read(false);
  EXPECT_EQ(head.status, 201);
  EXPECT_NE(head.head.find("X-A: 1\r\nx-a: 2\r\nServer: s\r\n"), std::string::npos);
  EXPECT_EQ(head.field("X-B"), "");
  EXPECT_EQ(head.field("Ember-Call-Id"), got.id.text());
  EXPECT_EQ(client.read_chunk(), "hello ");
  EXPECT_EQ(client.read_chunk(), "you");
  EXPECT_EQ(client.read_chunk(), "");
  auto& next = start(client, request("GET /next"));
  next.client->on_piece("200\r\nContent-Length: 2\r\n");
  next.client->on_piece("ok");
  next.client->on_end();
  EXPECT_EQ(client.read().body, "ok");
}

TEST_F(WebTest, RefusesAnAddressThatAsksAnOpenEndpointTooOften) {
  options.open_rate = {1, 2};
  const auto ask = [this](const char* fields, const char* label = "shop-site") {
    TestClient client = connect();
    auto& asked = start(client, request("GET /", fields, label));
    asked.client->on_piece("204\r\n");
    asked.client->on_end();
    EXPECT_EQ(client.read(false).status, 204);
  };
  constexpr const char* kFrom = "X-Forwarded-For: 198.51.100.7, 192.0.2.1\r\n";
  ask(kFrom);
  ask(kFrom);
  const auto refused = refusal(request("GET /", kFrom));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.field("Retry-After"), "1");
  EXPECT_EQ(refused.field("X-RateLimit-Limit"), "1");
  ask("X-Forwarded-For: 192.0.2.2\r\n");
  for (int i = 0; i < 5; ++i) ask("");  // a program of this machine, for itself
  ask((std::string(kFrom) + "Authorization: Bearer ek-good\r\n").c_str(), "shop-desk");
}

TEST_F(WebTest, SendsNoBodyWhereThereIsNone) {
  TestClient client = connect();
  auto& head = start(client, request("HEAD /"));
  head.client->on_piece("200\r\nContent-Length: 5\r\n");
  head.client->on_piece("hello");
  ASSERT_TRUE(turn_until([&] { return web.accepted.items == 2; })) << "what goes nowhere is taken";
  head.client->on_end();
  EXPECT_EQ(client.read(false).field("Content-Length"), "5");
  auto& none = start(client, request("GET /"));
  none.client->on_piece("204\r\n");
  none.client->on_end();
  const auto answer = client.read(false);
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.field("Transfer-Encoding"), "");
  start(client, request("GET /still-in-step"));
}

TEST_F(WebTest, EndsTheConnectionWithABodyThatHasNoOtherEnd) {
  TestClient client = connect();
  auto& got = start(client, "GET / HTTP/1.0\r\nHost: shop-site.localhost\r\n\r\n");
  got.client->on_piece("200\r\n");
  got.client->on_piece("to the end");
  got.client->on_end();
  EXPECT_EQ(client.read(false).field("Connection"), "close");
  EXPECT_EQ(client.read_raw(10), "to the end");
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(WebTest, PassesABodyOnAsFarAsThereIsRoom) {
  TestClient client = connect();
  const std::size_t size = 3 * kPieceWindowBytes;
  auto& got = start(client, request("POST /", "Content-Length: " + std::to_string(size) + "\r\n"));
  const std::string body(size, 'b');
  std::string_view rest = body;
  // As much as the sockets between hold; then the client waits.
  while (!rest.empty()) {
    const ssize_t sent = ::send(client.socket(), rest.data(), rest.size(), MSG_DONTWAIT);
    if (sent > 0) rest.remove_prefix(static_cast<std::size_t>(sent));
    if (sent < 0 && got.body.size() >= kPieceWindowBytes) break;
    loop.poll();
  }
  loop.poll();
  EXPECT_GE(got.body.size(), kPieceWindowBytes);
  EXPECT_LT(got.body.size(), kPieceWindowBytes + (64u << 10)) << "one read may go beyond";
  std::size_t told = 0;
  ASSERT_TRUE(turn_until([&] {
    const ssize_t sent = ::send(client.socket(), rest.data(), rest.size(), MSG_DONTWAIT);
    if (sent > 0) rest.remove_prefix(static_cast<std::size_t>(sent));
    const std::size_t taken = got.body.size() - told;
    told = got.body.size();
    if (taken > 0) got.client->on_room(taken);
    return got.ended;
  }));
  EXPECT_EQ(got.body, body);
}

TEST_F(WebTest, DecodesChunksAndRefusesThoseThatAreNone) {
  TestClient client = connect();
  const auto& got = start(client, request("POST /", "Transfer-Encoding: chunked\r\n"));
  EXPECT_NE(got.head.find("Transfer-Encoding: chunked\r\n"), std::string::npos);
  client.send("3\r\none\r\n3\r\ntw");
  client.send("o\r\n0\r\nTrailer: x\r\n\r\n");
  ASSERT_TRUE(turn_until([&] { return got.ended; }));
  EXPECT_EQ(got.body, "onetwo");
  TestClient other = connect();
  start(other, request("POST /", "Transfer-Encoding: chunked\r\n"));
  other.send("x\r\n\r\n\r\n\r\n");
  EXPECT_EQ(other.read().status, 400);
  EXPECT_EQ(web.abandoned.size(), 1u);
}

TEST_F(WebTest, TellsAClientThatAsksToSendItsBody) {
  TestClient client = connect();
  start(client, request("PUT /", "Content-Length: 2\r\nExpect: 100-continue\r\n"));
  EXPECT_EQ(client.read(false).status, 100);
}

TEST_F(WebTest, AnAnswerBeforeTheBodysEndEndsTheConnection) {
  TestClient client = connect();
  auto& got = start(client, request("POST /", "Content-Length: 1000\r\n") + "begun");
  got.client->on_piece("413\r\nContent-Length: 0\r\n");
  got.client->on_end();
  const auto answer = client.read();
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(answer.field("Connection"), "close");
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(WebTest, FindsEndpointsByTheirHost) {
  EXPECT_EQ(refusal(request("GET /", "", "shop-other")).status, 404);
  EXPECT_NE(refusal(request("GET /", "", "shop-other")).body.find("ember app list"),
            std::string::npos);
  const auto bare = refusal("GET / HTTP/1.1\r\nHost: 127.0.0.1:7778\r\n\r\n");
  EXPECT_EQ(bare.status, 404);
  EXPECT_NE(bare.body.find("http://LABEL.localhost"), std::string::npos);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: shop-site.evil.com\r\n\r\n").status, 404);
  TestClient client = connect();
  start(client, "GET / HTTP/1.1\r\nHost: Shop-Site.APPS.example.com\r\n\r\n");
}

TEST_F(WebTest, WantsAKeyAndKeepsItBack) {
  EXPECT_EQ(refusal(request("GET /", "", "shop-desk")).status, 401);
  const std::string bad = "Authorization: Bearer bad\r\n";
  EXPECT_EQ(refusal(request("GET /", bad, "shop-desk")).field("WWW-Authenticate"), "Bearer");
  TestClient client = connect();
  const auto& got =
      start(client, request("GET /", "Authorization: Bearer ek-good\r\n", "shop-desk"));
  EXPECT_EQ(got.head.find("ek-good"), std::string::npos);
  EXPECT_EQ(got.caller, KeyId{1});
}

TEST_F(WebTest, TellsAClientNothingOfAFailureButItsKind) {
  const std::pair<ErrorCode, int> kKinds[] = {
      {ErrorCode::timed_out, 504},      {ErrorCode::container_crashed, 502},
      {ErrorCode::user_exception, 500}, {ErrorCode::start_failed, 502},
      {ErrorCode::cancelled, 503},      {ErrorCode::out_of_memory, 502}};
  for (const auto& [code, status] : kKinds) {
    TestClient client = connect();
    auto& got = start(client, request("GET /"));
    CallFailure failure{{code, "a secret"}};
    failure.body = R"({"traceback": "a secret"})";
    got.client->on_failure(std::move(failure));
    const auto answer = client.read();
    EXPECT_EQ(answer.status, status);
    EXPECT_EQ(answer.body.find("secret"), std::string::npos);
  }
}

TEST_F(WebTest, SaysWhenToComeBackWhereTooManyWait) {
  web.refuse = CallFailure{{ErrorCode::resource_exhausted, "full"}};
  web.refuse->retry_after_s = 7;
  const auto answer = refusal(request("GET /"));
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.field("Retry-After"), "7");
}

TEST_F(WebTest, AnAppThatEndsWithoutAnAnswerIsABadGateway) {
  TestClient client = connect();
  start(client, request("GET /")).client->on_end();
  EXPECT_EQ(client.read().status, 502);
}

TEST_F(WebTest, NoAnswerThatIsNotOneReachesTheClient) {
  for (const std::string head :
       {"", "x\r\n", "100\r\n", "99\r\n", "200\r\nno colon\r\n", "200\r\nA b: c\r\n",
        "200\r\nA: b\nc\r\n", "101\r\n", "200\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "200\r\nContent-Length: -1\r\n"}) {
    TestClient client = connect();
    auto& got = start(client, request("GET /"));
    got.client->on_piece(head);
    EXPECT_EQ(client.read().status, 502) << head;
  }
  EXPECT_EQ(web.abandoned.size(), 10u);
}

TEST_F(WebTest, ABrokenAnswerShowsByTheEndOfTheConnection) {
  const auto broken = [this](std::string head, const std::function<void(WebClient&)>& breaks) {
    TestClient client = connect();
    auto& got = start(client, request("GET /"));
    got.client->on_piece(std::move(head));
    got.client->on_piece("half");
    breaks(*got.client);
    const auto answer = client.read(false);
    EXPECT_EQ(answer.status, 200);
    const bool chunked = !answer.field("Transfer-Encoding").empty();
    EXPECT_EQ(chunked ? client.read_chunk() : client.read_raw(4), "half");
    EXPECT_TRUE(client.closed_by_server());
  };
  const auto fails = [](WebClient& client) {
    client.on_failure(CallFailure{{ErrorCode::container_crashed, ""}});
  };
  broken("200\r\n", fails);
  broken("200\r\nContent-Length: 10\r\n", fails);
  broken("200\r\nContent-Length: 10\r\n", [](WebClient& client) { client.on_end(); });
  broken("200\r\nContent-Length: 5\r\n", [](WebClient& client) { client.on_piece("much"); });
}

TEST_F(WebTest, AClientThatLeavesAbandonsItsCall) {
  TestClient client = connect();
  const auto id = start(client, request("GET /")).id;
  client.hang_up();
  ASSERT_TRUE(turn_until([&] { return !web.abandoned.empty(); }));
  EXPECT_EQ(web.abandoned[0], id);
  ASSERT_TRUE(turn_until([&] { return server().open_connections() == 0; }));
}

constexpr std::string_view kHandshake =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

TEST_F(WebTest, AHandshakeThatIsAcceptedMakesATunnel) {
  TestClient client = connect();
  auto& got = start(client, request("GET /chat", kHandshake) + "ahead");
  EXPECT_NE(got.head.find("Connection: Upgrade\r\nUpgrade: websocket\r\n"), std::string::npos);
  EXPECT_NE(got.head.find("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), std::string::npos);
  EXPECT_FALSE(got.ended);
  EXPECT_EQ(got.body, "");
  got.client->on_piece("101\r\nsec-websocket-accept: x\r\n");
  const auto head = client.read(false);
  EXPECT_EQ(head.status, 101);
  EXPECT_EQ(head.field("Connection"), "Upgrade");
  ASSERT_TRUE(turn_until([&] { return got.body == "ahead"; }));
  client.send("\x81\x80");
  ASSERT_TRUE(turn_until([&] { return got.body == "ahead\x81\x80"; }));
  got.client->on_piece("back");
  EXPECT_EQ(client.read_raw(4), "back");
  got.client->on_end();
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(WebTest, AnAppWhoseWebsocketClientLeavesIsToldAndHasSomeSeconds) {
  TestClient client = connect();
  auto& got = start(client, request("GET /chat", kHandshake));
  got.client->on_piece("101\r\n");
  client.read(false);
  client.hang_up();
  ASSERT_TRUE(turn_until([&] { return got.ended; }));
  EXPECT_TRUE(web.abandoned.empty());
  tick(static_cast<int>(options.limits.tunnel_leave_seconds) + 1);
  EXPECT_EQ(web.abandoned.size(), 1u);
}

TEST_F(WebTest, WhileDrainingAppsOfTunnelsAreToldToo) {
  TestClient client = connect();
  auto& got = start(client, request("GET /chat", kHandshake));
  got.client->on_piece("101\r\n");
  client.read(false);
  server().begin_drain();
  EXPECT_TRUE(got.ended);
  got.client->on_end();
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(WebTest, AHandshakeThatIsRefusedLeavesTheConnectionInHttp) {
  TestClient client = connect();
  auto& got = start(client, request("GET /chat", kHandshake));
  got.client->on_piece("403\r\nContent-Length: 0\r\n");
  got.client->on_end();
  EXPECT_EQ(client.read().status, 403);
  start(client, request("GET /again"));
}

TEST_F(WebTest, RefusesRequestsThatOthersMightReadOtherwise) {
  EXPECT_EQ(
      refusal(request("POST /", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")).status,
      400);
  EXPECT_EQ(refusal(request("GET /", "Host: other\r\n")).status, 400);
  EXPECT_EQ(refusal(request("GET /", "A: b\r\n c\r\n")).status, 400);
  EXPECT_TRUE(web.requests.empty());
}

TEST_F(WebTest, LetsGoOfClientsThatSendTheirRequestsTooSlowly) {
  TestClient slow = connect();
  slow.send("GET / HTTP/1.1\r\nHo");
  ASSERT_TRUE(turn_until([&] { return server().open_connections() == 1; }));
  loop.poll();
  tick(static_cast<int>(options.limits.head_seconds) + 2);
  EXPECT_EQ(slow.read().status, 408);
  TestClient stalls = connect();
  start(stalls, request("POST /", "Content-Length: 5\r\n") + "a");
  tick(static_cast<int>(options.limits.body_stall_seconds) + 2);
  EXPECT_EQ(web.abandoned.size(), 1u);
}

TEST_F(WebTest, WhileDrainingEveryAnswerIsTheLast) {
  TestClient idle = connect(), client = connect();
  auto& got = start(client, request("GET /"));
  server().begin_drain();
  EXPECT_TRUE(idle.closed_by_server());
  got.client->on_piece("200\r\nContent-Length: 0\r\n");
  got.client->on_end();
  EXPECT_EQ(client.read().field("Connection"), "close");
  EXPECT_TRUE(client.closed_by_server());
}

}  // namespace
}  // namespace ember
