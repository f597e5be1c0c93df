// Routes, keys, hosts, limits and time-outs, over real sockets.
#include "gateway/server.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gateway/test_client.h"

namespace ember {
namespace {

using nlohmann::json;

class ServerTest : public GatewayTest {};

TEST_F(ServerTest, NamesThePortThatIsInUse) {
  ServerOptions same = options;
  same.port = server().port();
  const auto second = Server::listen(loop, control, same);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_NE(second.error().message.find(std::to_string(same.port)), std::string::npos);
  EXPECT_NE(second.error().message.find("--listen"), std::string::npos);
}

TEST_F(ServerTest, RefusesAnAddressThatIsNone) {
  options.address = "example.invalid";
  const auto result = Server::listen(loop, control, options);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
}

struct RouteCase {
  const char* method;
  const char* target;
  const char* body;
  const char* asked;  // what control was asked, as the answer repeats it
};

class RouteTest : public ServerTest, public ::testing::WithParamInterface<RouteCase> {};

TEST_P(RouteTest, ReachesControl) {
  const auto& route = GetParam();
  const auto response = ask(route.method, route.target, route.body);
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(json::parse(response.body)["asked"], route.asked);
}

TEST_P(RouteTest, NeedsAKey) {
  TestClient client = connect();
  client.send(std::string(GetParam().method) + " " + GetParam().target +
              " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto response = client.read();
  EXPECT_EQ(response.status, 401);
  EXPECT_EQ(response.field("WWW-Authenticate"), "Bearer");
  EXPECT_EQ(json::parse(response.body)["error"]["code"], "unauthenticated");
  EXPECT_TRUE(control.asked.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Server, RouteTest,
    ::testing::Values(
        RouteCase{"GET", "/api/v1/status", "", "status"},
        RouteCase{"GET", "/api/v1/apps", "", "apps"},
        RouteCase{"GET", "/api/v1/apps/shop", "", "app shop"},
        RouteCase{"GET", "/api/v1/apps/a%2Eb", "", "app a.b"},
        RouteCase{"POST", "/api/v1/apps/shop/deploy", "{}", "deploy shop"},
        RouteCase{"GET", "/api/v1/apps/shop/history", "", "history shop"},
        RouteCase{"POST", "/api/v1/apps/shop/rollback", R"({"version": 3})", "rollback shop 3"},
        RouteCase{"POST", "/api/v1/apps/shop/rollback", "", "rollback shop 0"},
        RouteCase{"POST", "/api/v1/apps/shop/rollback", "{}", "rollback shop 0"},
        RouteCase{"POST", "/api/v1/apps/shop/stop", "", "stop shop"},
        RouteCase{"GET", "/api/v1/containers", "", "containers"},
        RouteCase{"GET", "/api/v1/nodes", "", "nodes"},
        RouteCase{"GET", "/api/v1/calls", "", "calls  50"},
        RouteCase{"GET", "/api/v1/calls?app=shop&limit=7", "", "calls shop 7"},
        RouteCase{"GET", "/api/v1/calls/fc-0000000000001", "", "call fc-0000000000001"},
        RouteCase{"GET", "/api/v1/calls/fc-0000000000001/cost", "", "call cost fc-0000000000001"},
        RouteCase{"GET", "/api/v1/cost", "", "cost   0 1700000000000"},
        RouteCase{"GET", "/api/v1/cost?by=app,day&app=a+b%21&from_ms=5&until_ms=9", "",
                  "cost app,day a b! 5 9"},
        RouteCase{"GET", "/api/v1/prices", "", "prices"}));

struct BadRequestCase {
  const char* method;
  const char* target;
  const char* body;
  int status;
};

class BadRequestTest : public ServerTest, public ::testing::WithParamInterface<BadRequestCase> {};

TEST_P(BadRequestTest, IsAnsweredWithJsonAndNeverReachesControl) {
  const auto& bad = GetParam();
  const auto response = ask(bad.method, bad.target, bad.body);
  EXPECT_EQ(response.status, bad.status);
  const json document = json::parse(response.body);
  EXPECT_FALSE(document["error"]["message"].get<std::string>().empty());
  EXPECT_TRUE(document["error"]["code"].is_string());
  EXPECT_TRUE(control.asked.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Server, BadRequestTest,
    ::testing::Values(
        BadRequestCase{"GET", "/", "", 404}, BadRequestCase{"GET", "/api", "", 404},
        BadRequestCase{"GET", "/api/v1/apps/", "", 404},
        BadRequestCase{"GET", "/api/v1/apps/a%zz", "", 404},
        BadRequestCase{"GET", "/api/v1/apps/a%00", "", 404},
        BadRequestCase{"GET", "//api/v1/apps", "", 404},
        BadRequestCase{"POST", "/fn/shop", "{}", 404},
        BadRequestCase{"POST", "/fn/shop/a/b", "{}", 404},
        BadRequestCase{"POST", "/api/v1/apps/shop/rollback", "{", 400},
        BadRequestCase{"POST", "/api/v1/apps/shop/rollback", "[]", 400},
        BadRequestCase{"POST", "/api/v1/apps/shop/rollback", R"({"version": -1})", 400},
        BadRequestCase{"POST", "/api/v1/apps/shop/rollback", R"({"version": "3"})", 400},
        BadRequestCase{"GET", "/api/v1/calls?limit=0", "", 400},
        BadRequestCase{"GET", "/api/v1/calls?limit=x", "", 400},
        BadRequestCase{"GET", "/api/v1/calls/nonsense", "", 404},
        BadRequestCase{"POST", "/api/v1/calls/nonsense/cancel", "", 404},
        BadRequestCase{"GET", "/api/v1/cost?from_ms=-1", "", 400},
        BadRequestCase{"GET", "/api/v1/logs", "", 400},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&last=x", "", 400},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&call=x", "", 404},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&container=x", "", 404},
        BadRequestCase{"DELETE", "/api/v1/apps", "", 405},
        BadRequestCase{"POST", "/api/v1/apps", "{}", 405},
        BadRequestCase{"GET", "/fn/shop/price", "", 405},
        BadRequestCase{"OPTIONS", "/api/v1/apps", "", 405},
        BadRequestCase{"BREW", "/api/v1/apps", "", 405}));

TEST_F(ServerTest, ReadsDeeplyNestedJsonWithoutHarm) {
  const std::string deep =
      R"({"version": )" + std::string(30'000, '[') + std::string(30'000, ']') + "}";
  EXPECT_EQ(ask("POST", "/api/v1/apps/shop/rollback", deep).status, 400);
}

TEST_F(ServerTest, NamesTheMethodsOfAPath) {
  EXPECT_EQ(ask("DELETE", "/api/v1/apps").field("Allow"), "GET, HEAD");
  EXPECT_EQ(ask("GET", "/fn/shop/price").field("Allow"), "POST");
  EXPECT_EQ(ask("GET", "/api/v1/blobs/aa").field("Allow"), "PUT");
}

TEST_F(ServerTest, SaysNothingOfOtherOrigins) {
  const auto response = ask("GET", "/api/v1/apps", "", "Origin: http://evil.example\r\n");
  EXPECT_EQ(response.head.find("Access-Control"), std::string::npos);
}

TEST_F(ServerTest, AnswersHeadWithTheHeadOfGet) {
  TestClient client = connect();
  client.send(request("HEAD", "/api/v1/apps") + request("GET", "/api/v1/apps"));
  const auto head = client.read(false);
  const auto get = client.read();
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.field("Content-Length"), get.field("Content-Length"));
  EXPECT_EQ(get.body.size(), std::stoul(head.field("Content-Length")));
}

TEST_F(ServerTest, TakesSourcesBlobsHeartbeatsAndCancellations) {
  EXPECT_EQ(json::parse(ask("POST", "/api/v1/sources", R"({"files": []})").body),
            json::parse(R"({"digest": "src-1", "missing": ["aa", "bb"]})"));
  EXPECT_EQ(ask("PUT", "/api/v1/blobs/abc", "bytes").status, 200);
  EXPECT_EQ(control.blobs["abc"], "bytes");
  EXPECT_EQ(ask("POST", "/api/v1/apps/shop/heartbeat").status, 200);
  EXPECT_EQ(control.asked.back(), "heartbeat shop");
  EXPECT_EQ(ask("POST", "/api/v1/calls/fc-0000000000009/cancel").status, 200);
  EXPECT_EQ(control.cancelled, std::vector{CallId{9}});
}

TEST_F(ServerTest, PassesControlsErrorsOn) {
  control.refuse_documents = Error{ErrorCode::conflict, "\"shop\" \xff is not built"};
  for (const char* target : {"/api/v1/apps/shop/stop", "/api/v1/apps/shop/heartbeat",
                             "/api/v1/apps/shop/deploy", "/api/v1/sources"}) {
    const auto response = ask("POST", target, "{}");
    EXPECT_EQ(response.status, 409) << target;
    EXPECT_EQ(json::parse(response.body)["error"]["message"], "\"shop\" \ufffd is not built");
  }
  EXPECT_EQ(ask("PUT", "/api/v1/blobs/abc", "x").status, 409);
  EXPECT_EQ(ask("GET", "/api/v1/apps/shop").status, 409);
  EXPECT_EQ(ask("GET", "/api/v1/logs?app=shop").status, 409);
}

TEST_F(ServerTest, DropsAnAnswerThatComesAfterItsClientLeft) {
  control.answer_later = true;
  TestClient client = connect();
  client.send(request("POST", "/api/v1/apps/shop/stop"));
  ASSERT_TRUE(turn_until([&] { return control.pending.size() == 1; }));
  client.hang_up();
  ASSERT_TRUE(turn_until([&] { return server().open_connections() == 0; }));
  control.pending[0](std::string("{}"));
}

TEST_F(ServerTest, HealthNeedsNoKeyAndTellsOfADrain) {
  TestClient client = connect();
  client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto healthy = client.read();
  EXPECT_EQ(healthy.status, 200);
  EXPECT_EQ(json::parse(healthy.body), json::parse(R"({"status": "ok"})"));
  server().begin_drain();
  EXPECT_TRUE(client.closed_by_server()) << "idle connections go at once";
  const auto draining = ask("GET", "/healthz");
  EXPECT_EQ(draining.status, 503);
  EXPECT_EQ(draining.field("Connection"), "close");
}

TEST_F(ServerTest, ADrainLetsACallFinishAndThenCloses) {
  TestClient client = connect();
  client.send(request("POST", "/fn/shop/price", "{}"));
  ASSERT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  server().begin_drain();
  EXPECT_EQ(server().open_connections(), 1u);
  control.calls[0].waiter->on_result({BodyFormat::json, "1"}, {});
  const auto response = client.read();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.field("Connection"), "close");
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(ServerTest, ServesItsOpenapiDocumentWithoutAKey) {
  TestClient client = connect();
  client.send("GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const json document = json::parse(client.read().body);
  EXPECT_EQ(document["openapi"].get<std::string>().substr(0, 3), "3.1");
}

TEST_F(ServerTest, WritesMetricsAsPrometheusText) {
  const auto response = ask("GET", "/metrics");
  EXPECT_EQ(response.field("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  for (const char* line :
       {"faas_invocations_total{app=\"shop\",faas_name=\"price\"} 3",
        "faas_invoke_duration_seconds_bucket{app=\"shop\",faas_name=\"price\",le=\"0.001\"} 1",
        "faas_invoke_duration_seconds_bucket{app=\"shop\",faas_name=\"price\",le=\"0.005\"} 3",
        "faas_invoke_duration_seconds_count{app=\"shop\",faas_name=\"price\"} 3",
        "faas_invoke_duration_seconds_sum{app=\"shop\",faas_name=\"price\"} 0.0065",
        "ember_gpu_seconds_total{app=\"shop\",faas_name=\"price\",kind=\"busy\"} 1.5",
        "ember_cost_usd_total{app=\"shop\",faas_name=\"price\"} 2.5",
        "http_server_open_connections 1"}) {
    EXPECT_NE(response.body.find(std::string(line) + "\n"), std::string::npos) << line;
  }
}

// --- keys -----------------------------------------------------------------------------------

TEST_F(ServerTest, RefusesAWrongKey) {
  for (const char* value : {"Bearer ek-bad", "Bearer ", "Bearer", "Basic ek-good", "ek-good"}) {
    TestClient client = connect();
    client.send(std::string("GET /api/v1/apps HTTP/1.1\r\nHost: localhost\r\nAuthorization: ") +
                value + "\r\n\r\n");
    EXPECT_EQ(client.read().status, 401) << value;
  }
}

TEST_F(ServerTest, AnswersAnUnknownPathWithoutAKeyLikeAnyOther) {
  TestClient client = connect();
  client.send("GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.read().status, 401);
}

TEST_F(ServerTest, LooksAKeyUpOnceASecondForEachConnection) {
  TestClient client = connect();
  for (int i = 0; i < 5; ++i) {
    client.send(request("GET", "/api/v1/apps"));
    EXPECT_EQ(client.read().status, 200);
  }
  EXPECT_LE(control.authentications, 2);  // the server's own timer may have ticked once
  control.good_key = "ek-other";
  tick(1);
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 401) << "an expired key works no longer than a second";
}

TEST_F(ServerTest, OpensNothingForARevokedKeyFromThenOn) {
  TestClient client = connect();
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 200);
  control.good_key = "ek-other";
  ++control.changes_of_keys;
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 401);
}

TEST_F(ServerTest, EndsTheStreamsOfARevokedKey) {
  TestClient client = connect();
  client.send(request("GET", "/api/v1/logs?app=shop&follow=true"));
  EXPECT_EQ(client.read(false).status, 200);
  control.good_key = "ek-other";
  tick(1);
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(ServerTest, PassesWhatIsAskedOfKeysOn) {
  EXPECT_EQ(ask("GET", "/api/v1/keys").status, 200);
  EXPECT_EQ(ask("POST", "/api/v1/keys", R"({"name": "ci"})").status, 200);
  EXPECT_EQ(ask("POST", "/api/v1/keys/ci/revoke").status, 200);
  EXPECT_EQ(control.asked,
            (std::vector<std::string>{R"(create key {"name": "ci"})", "revoke key ci"}));
}

TEST_F(ServerTest, DoesNotTakeAnotherKeyForTheOneItKnows) {
  TestClient client = connect();
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 200);
  for (const char* key : {"ek-goo", "ek-goodd", "ek-goof"}) {
    client.send(std::string("GET /api/v1/apps HTTP/1.1\r\nHost: localhost\r\nAuthorization: ") +
                "Bearer " + key + "\r\n\r\n");
    EXPECT_EQ(client.read().status, 401) << key;
  }
}

TEST_F(ServerTest, KeepsTheConnectionInStepAfterARefusalWithASmallBody) {
  TestClient client = connect();
  client.send(
      "POST /fn/a/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 24\r\n\r\n"
      "GET /healthz HTTP/1.1\r\n\r");
  EXPECT_EQ(client.read().status, 401);
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 200);
}

// --- hosts ----------------------------------------------------------------------------------

TEST_F(ServerTest, AnswersOnLoopbackOnlyToNamesOfThisMachine) {
  options.host_names = {"ember.internal"};
  const auto status = [&](const std::string& host) {
    TestClient client = connect();
    client.send("GET /healthz HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    return client.read().status;
  };
  for (const char* host : {"localhost", "localhost:7777", "LOCALHOST", "127.0.0.1", "127.0.0.1:80",
                           "[::1]", "[::1]:7777", "Ember.Internal:7777"}) {
    EXPECT_EQ(status(host), 200) << host;
  }
  for (const char* host : {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example",
                           "169.254.169.254", "[::2]", "", "ember.internal.evil"}) {
    EXPECT_EQ(status(host), 403) << host;
  }
}

// --- limits ---------------------------------------------------------------------------------

TEST_F(ServerTest, RefusesABodyOverTheLimitBeforeReadingIt) {
  options.limits.body_bytes = 1000;
  TestClient client = connect();
  client.send(request("POST", "/fn/a/b", "", "Content-Length: 1000000000\r\n"));
  EXPECT_EQ(client.read().status, 413);
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(ServerTest, RefusesAChunkedBodyOverTheLimit) {
  options.limits.body_bytes = 1000;
  TestClient client = connect();
  client.send(request("POST", "/fn/a/b", "", "Transfer-Encoding: chunked\r\n"));
  const std::string chunk = "100\r\n" + std::string(256, 'x') + "\r\n";
  for (int i = 0; i < 8; ++i) client.send(chunk);
  const ClientResponse answer = client.read();
  EXPECT_EQ(answer.status, 413);
  EXPECT_NE(answer.body.find("over the limit of 1000 bytes"), std::string::npos);
}

TEST_F(ServerTest, RefusesABodyThatAllTogetherHaveNoRoomFor) {
  options.limits.all_bodies_bytes = 1000;
  TestClient first = connect();
  first.send(request("POST", "/fn/a/b", "", "Content-Length: 1000\r\n") + std::string(900, 'x'));
  loop.poll();
  const auto response = ask("POST", "/fn/a/b", std::string(200, 'x'));
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.field("Retry-After"), "1");
  first.hang_up();
  ASSERT_TRUE(turn_until([&] { return server().open_connections() == 0; }));
  EXPECT_EQ(ask("POST", "/fn/a/b", std::string(200, 'x')).status, 400) << "room again";
}

TEST_F(ServerTest, ABodyThatIsOnlyPromisedTakesNoRoomFromOthers) {
  options.limits.all_bodies_bytes = 1000;
  TestClient first = connect();
  first.send(request("POST", "/fn/a/b", "", "Content-Length: 900\r\n"));
  loop.poll();
  EXPECT_EQ(ask("PUT", "/api/v1/blobs/aa", std::string(900, 'x')).status, 200);
}

TEST_F(ServerTest, RefusesABodyOnItsWayOnceAllTogetherHaveNoRoom) {
  options.limits.all_bodies_bytes = 1000;
  TestClient first = connect(), second = connect();
  for (TestClient* client : {&first, &second}) {
    client->send(request("POST", "/fn/a/b", "", "Content-Length: 900\r\n"));
    loop.poll();
    client->send(std::string(600, 'x'));
    loop.poll();
  }
  EXPECT_EQ(second.read().status, 503);
  EXPECT_TRUE(second.closed_by_server());
  first.send(std::string(300, 'x'));
  EXPECT_EQ(first.read().status, 400) << "no JSON object, but whole";
}

TEST_F(ServerTest, InvitesABodyThatWaitsToBeInvited) {
  TestClient client = connect();
  client.send(
      request("PUT", "/api/v1/blobs/aa", "", "Content-Length: 2\r\nExpect: 100-continue\r\n"));
  EXPECT_EQ(client.read().status, 100);
  client.send("ok");
  EXPECT_EQ(client.read().status, 200);
  EXPECT_EQ(control.blobs["aa"], "ok");
}

TEST_F(ServerTest, DoesNotInviteABodyItWillRefuse) {
  TestClient client = connect();
  client.send(
      "PUT /api/v1/blobs/aa HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
      "Expect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read().status, 401);
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(ServerTest, TurnsClientsAwayOverItsLimitOfConnections) {
  options.limits.connections = 2;
  TestClient one = connect(), two = connect();
  ASSERT_TRUE(turn_until([&] { return server().open_connections() == 2; }));
  TestClient three = connect();
  const auto refused = three.read();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(json::parse(refused.body)["error"]["code"], "unavailable");
  one.hang_up();
  ASSERT_TRUE(turn_until([&] { return server().open_connections() == 1; }));
  EXPECT_EQ(ask("GET", "/api/v1/apps").status, 200);
}

TEST_F(ServerTest, ClosesAnIdleClientForTheSakeOfANewOne) {
  options.limits.connections = 3;
  TestClient idle = connect(), busy = connect();
  busy.send(request("GET", "/api/v1/logs?app=shop&follow=true"));
  EXPECT_EQ(busy.read(false).status, 200);
  TestClient third = connect();
  ASSERT_TRUE(turn_until([&] { return server().open_connections() == 3; }));
  tick(2);
  EXPECT_EQ(ask("GET", "/healthz").status, 200);
  EXPECT_EQ(ask("GET", "/healthz").status, 200);
  EXPECT_TRUE(idle.closed_by_server() || third.closed_by_server());
  LogLine line;
  line.text = "still here";
  control.followers.front().follower->on_line(line);
  EXPECT_NE(busy.read_chunk().find("still here"), std::string::npos);
}

TEST_F(ServerTest, ClosesASilentClientAfterTheHeadTimeout) {
  TestClient client = connect();
  ASSERT_TRUE(turn_until([&] { return server().open_connections() == 1; }));
  tick(9);
  EXPECT_EQ(server().open_connections(), 1u);
  tick(2);
  EXPECT_EQ(server().open_connections(), 0u);
}

TEST_F(ServerTest, ClosesAClientThatDripsItsHead) {
  TestClient client = connect();
  client.send("GET /healthz HTTP/1.1\r\n");
  loop.poll();
  for (int second = 0; second < 11; ++second) {
    client.send("X: y\r\n");
    loop.poll();
    tick(1);
  }
  EXPECT_EQ(client.read().status, 408);
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(ServerTest, KeepsAnIdleClientLongerThanASlowOne) {
  TestClient client = connect();
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 200);
  tick(100);
  EXPECT_EQ(server().open_connections(), 1u);
  tick(21);
  EXPECT_EQ(server().open_connections(), 0u);
}

TEST_F(ServerTest, ClosesAClientThatDripsItsBody) {
  TestClient client = connect();
  client.send(request("POST", "/fn/a/b", "", "Content-Length: 1000000\r\n"));
  loop.poll();
  for (int second = 0; second < 12; ++second) {
    client.send("x");
    loop.poll();
    tick(1);
  }
  EXPECT_EQ(client.read().status, 408);
}

TEST_F(ServerTest, WaitsForAClientWhoseBodyKeepsTheRate) {
  TestClient client = connect();
  client.send(request("PUT", "/api/v1/blobs/aa", "", "Content-Length: 61440\r\n"));
  for (int second = 0; second < 30; ++second) {
    client.send(std::string(2048, 'x'));
    loop.poll();
    tick(1);
  }
  EXPECT_EQ(client.read().status, 200);
}

TEST_F(ServerTest, NeverCutsACallShort) {
  TestClient client = connect();
  client.send(request("POST", "/fn/a/b", "{}"));
  ASSERT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  tick(100'000);
  control.calls[0].waiter->on_result({BodyFormat::json, "1"}, {});
  EXPECT_EQ(client.read().status, 200);
}

TEST_F(ServerTest, ClosesAClientThatDoesNotReadItsAnswer) {
  TestClient client = connect();
  client.send(request("POST", "/fn/a/b", "{}"));
  ASSERT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  control.calls[0].waiter->on_result({BodyFormat::bytes, std::string(32u << 20, 'x')}, {});
  loop.poll();
  tick(30);
  EXPECT_EQ(server().open_connections(), 1u);
  tick(1);
  EXPECT_EQ(server().open_connections(), 0u);
}

// What it takes now and then makes no room for more in its socket.
TEST_F(ServerTest, ClosesAClientThatReadsItsAnswerInDrips) {
  TestClient client = connect();
  client.send(request("POST", "/fn/a/b", "{}"));
  ASSERT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  control.calls[0].waiter->on_result({BodyFormat::bytes, std::string(32u << 20, 'x')}, {});
  loop.poll();
  for (int second = 0; second < 32; ++second) {
    char drip[700];
    EXPECT_GT(::recv(client.socket(), drip, sizeof drip, 0), 0);
    loop.poll();
    tick(1);
  }
  EXPECT_EQ(server().open_connections(), 0u);
}

TEST_F(ServerTest, WaitsForAClientThatReadsItsAnswerAtALowRate) {
  TestClient client = connect();
  client.send(request("POST", "/fn/a/b", "{}"));
  ASSERT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  constexpr std::size_t kSize = 32u << 20;
  control.calls[0].waiter->on_result({BodyFormat::bytes, std::string(kSize, 'x')}, {});
  loop.poll();
  std::size_t read = 0;
  while (read < kSize) {
    std::string piece(256u << 10, '\0');
    const ssize_t count = ::recv(client.socket(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (count == 0) break;
    if (count > 0) read += static_cast<std::size_t>(count);
    loop.poll();
    tick(3);
  }
  EXPECT_GE(read, kSize);
}

TEST_F(ServerTest, ServesOthersWhileOneDoesNotRead) {
  TestClient stuck = connect();
  stuck.send(request("POST", "/fn/a/b", "{}"));
  ASSERT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  control.calls[0].waiter->on_result({BodyFormat::bytes, std::string(32u << 20, 'x')}, {});
  EXPECT_EQ(ask("GET", "/api/v1/apps").status, 200);
}

TEST_F(ServerTest, ClosesARefusedClientThatGoesOnSending) {
  TestClient client = connect();
  client.send("nonsense\r\n\r\n");
  EXPECT_EQ(client.read().status, 400);
  tick(3);
  EXPECT_EQ(server().open_connections(), 0u);
}

TEST_F(ServerTest, SpeaksHttp10) {
  TestClient client = connect();
  client.send("GET /healthz HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(client.read().field("Connection"), "keep-alive");
  client.send("GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.read().field("Connection"), "close");
  EXPECT_TRUE(client.closed_by_server());
}

}  // namespace
}  // namespace ember
