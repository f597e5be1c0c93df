// A connection that leaves HTTP for WebSocket messages.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gateway/test_client.h"
#include "gateway/websocket.h"

namespace ember {
namespace {

constexpr const char* kPath = "/api/v1/containers/ct-0000000000007/exec";
constexpr const char* kUpgrade =
    "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

std::string masked(unsigned char first, std::string_view payload) {
  std::string out{static_cast<char>(first), static_cast<char>(0x80 | payload.size())};
  out.append(4, '\0').append(payload);  // a mask of zeros changes nothing
  return out;
}

class MessagesTest : public GatewayTest {
 protected:
  TestClient upgraded() {
    TestClient client = connect();
    client.send(request("GET", kPath, {}, kUpgrade));
    const auto head = client.read();
    EXPECT_EQ(head.status, 101);
    EXPECT_EQ(head.field("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    return client;
  }
};

TEST_F(MessagesTest, GoBothWaysUntilTheSessionEnds) {
  TestClient client = upgraded();
  EXPECT_EQ(control.sessions, 1);
  client.send(masked(0x81, "hello") + masked(0x82, "bytes") + masked(0x89, "ping"));
  EXPECT_EQ(client.read_raw(7 + 7 + 6),
            "\x81\x05hello\x82\x05"
            "bytes\x8a\x04ping");
  client.send(masked(0x81, "end"));
  EXPECT_EQ(client.read_raw(5 + 4), std::string("\x81\x03"
                                                "end\x88\x02\x03\xe8",
                                                9));
  EXPECT_TRUE(client.closed_by_server());
  EXPECT_EQ(control.sessions, 0);
}

TEST_F(MessagesTest, WhatIsSentAheadIsNotLost) {
  TestClient client = connect();
  client.send(request("GET", kPath, {}, kUpgrade) + masked(0x81, "early"));
  EXPECT_EQ(client.read().status, 101);
  EXPECT_EQ(client.read_raw(7),
            "\x81\x05"
            "early");
}

TEST_F(MessagesTest, AClientThatHangsUpEndsTheSession) {
  TestClient client = upgraded();
  client.hang_up();
  EXPECT_TRUE(turn_until([&] { return control.sessions == 0; }));
  EXPECT_EQ(server().open_connections(), 0u);
}

TEST_F(MessagesTest, ACloseIsAnswered) {
  TestClient client = upgraded();
  client.send(masked(0x88, "\x03\xe8"));
  EXPECT_EQ(client.read_raw(4), std::string("\x88\x02\x03\xe8", 4));
  EXPECT_TRUE(client.closed_by_server());
  EXPECT_EQ(control.sessions, 0);
}

TEST_F(MessagesTest, AClientThatBreaksTheProtocolIsToldTheCode) {
  TestClient client = upgraded();
  client.send("\x81\x05hello");  // not masked
  EXPECT_EQ(client.read_raw(4), std::string("\x88\x02\x03\xea", 4));
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(MessagesTest, ASilentClientIsAskedAndThenLetGo) {
  TestClient client = upgraded();
  tick(16);
  EXPECT_EQ(client.read_raw(2), std::string("\x89\x00", 2));
  client.send(masked(0x8a, ""));
  EXPECT_TRUE(turn_until([&] { return loop.poll() == 0; }));
  tick(30);
  EXPECT_EQ(control.sessions, 1);
  tick(60);
  EXPECT_EQ(control.sessions, 0);
}

TEST_F(MessagesTest, AKeyThatIsRevokedEndsTheSession) {
  TestClient client = upgraded();
  control.good_key = "ek-other";
  ++control.changes_of_keys;
  tick(1);
  EXPECT_EQ(control.sessions, 0);
}

TEST_F(MessagesTest, ARequestThatAsksForNoUpgradeIsToldToAsk) {
  for (const std::string fields :
       {"", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: c2hvcnQ=\r\n"}) {
    const auto answer = ask("GET", kPath, {}, fields);
    EXPECT_EQ(answer.status, 426) << fields;
    EXPECT_EQ(answer.field("Upgrade"), "websocket");
  }
  EXPECT_EQ(control.sessions, 0);
}

TEST_F(MessagesTest, WhatControlRefusesIsAnErrorLikeAnyOther) {
  control.refuse_documents = Error{ErrorCode::not_found, "no such container"};
  EXPECT_EQ(ask("GET", kPath, {}, kUpgrade).status, 404);
  EXPECT_EQ(ask("GET", "/api/v1/containers/nonsense/exec", {}, kUpgrade).status, 404);
}

TEST_F(MessagesTest, AMapIsAConversationToo) {
  const std::string path = "/api/v1/apps/docs/functions/read%20page/map";
  EXPECT_EQ(ask("GET", path).status, 426);
  EXPECT_TRUE(control.asked.empty());
  TestClient client = connect();
  client.send(request("GET", path, {}, kUpgrade) + masked(0x82, "input"));
  EXPECT_EQ(client.read().status, 101);
  EXPECT_EQ(client.read_raw(7), "\x82\x05input");
  ASSERT_EQ(control.asked.size(), 1u);
  EXPECT_TRUE(control.asked[0].starts_with("map docs read page ak-")) << control.asked[0];
  client.hang_up();
  EXPECT_TRUE(turn_until([&] { return control.sessions == 0; }));
  TestClient other = connect();
  other.send(request("GET", path + "?variant=va-2", {}, kUpgrade));
  EXPECT_EQ(other.read().status, 101);
  EXPECT_TRUE(control.asked[1].ends_with("va-2")) << control.asked[1];
  control.refuse_documents =
      Error{ErrorCode::resource_exhausted, "16 maps of this key run already"};
  EXPECT_EQ(ask("GET", path, {}, kUpgrade).status, 429);
}

TEST_F(MessagesTest, NoKeyNoSession) {
  TestClient client = connect();
  client.send(std::string("GET ") + kPath + " HTTP/1.1\r\nHost: localhost\r\n" + kUpgrade + "\r\n");
  EXPECT_EQ(client.read().status, 401);
}

}  // namespace
}  // namespace ember
