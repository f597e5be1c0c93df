// Bodies and connections over their limits, and bodies that wait to be invited.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gateway/test_client.h"

namespace ember {
namespace {

using nlohmann::json;

class LimitsTest : public GatewayTest {};

TEST_F(LimitsTest, RefusesABodyOverTheLimitBeforeReadingIt) {
  options.limits.body_bytes = 1000;
  TestClient client = connect();
  client.send(request("POST", "/fn/a/b", "", "Content-Length: 1000000000\r\n"));
  EXPECT_EQ(client.read().status, 413);
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(LimitsTest, RefusesAChunkedBodyOverTheLimit) {
  options.limits.body_bytes = 1000;
  TestClient client = connect();
  client.send(request("POST", "/fn/a/b", "", "Transfer-Encoding: chunked\r\n"));
  const std::string chunk = "100\r\n" + std::string(256, 'x') + "\r\n";
  for (int i = 0; i < 8; ++i) client.send(chunk);
  const ClientResponse answer = client.read();
  EXPECT_EQ(answer.status, 413);
  EXPECT_NE(answer.body.find("over the limit of 1000 bytes"), std::string::npos);
}

TEST_F(LimitsTest, RefusesABodyThatAllTogetherHaveNoRoomFor) {
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

TEST_F(LimitsTest, ABodyThatIsOnlyPromisedTakesNoRoomFromOthers) {
  options.limits.all_bodies_bytes = 1000;
  TestClient first = connect();
  first.send(request("POST", "/fn/a/b", "", "Content-Length: 900\r\n"));
  loop.poll();
  EXPECT_EQ(ask("PUT", "/api/v1/blobs/aa", std::string(900, 'x')).status, 200);
}

TEST_F(LimitsTest, RefusesABodyOnItsWayOnceAllTogetherHaveNoRoom) {
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

TEST_F(LimitsTest, InvitesABodyThatWaitsToBeInvited) {
  TestClient client = connect();
  client.send(
      request("PUT", "/api/v1/blobs/aa", "", "Content-Length: 2\r\nExpect: 100-continue\r\n"));
  EXPECT_EQ(client.read().status, 100);
  client.send("ok");
  EXPECT_EQ(client.read().status, 200);
  EXPECT_EQ(control.blobs["aa"], "ok");
}

TEST_F(LimitsTest, DoesNotInviteABodyItWillRefuse) {
  TestClient client = connect();
  client.send(
      "PUT /api/v1/blobs/aa HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
      "Expect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read().status, 401);
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(LimitsTest, TurnsClientsAwayOverItsLimitOfConnections) {
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

TEST_F(LimitsTest, ClosesAnIdleClientForTheSakeOfANewOne) {
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

}  // namespace
}  // namespace ember
