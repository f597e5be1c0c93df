// Whom the server answers: keys, and the names of hosts.
#include <gtest/gtest.h>

#include "gateway/test_client.h"

namespace ember {
namespace {

class AccessTest : public GatewayTest {};

TEST_F(AccessTest, RefusesAWrongKey) {
  for (const char* value : {"Bearer ek-bad", "Bearer ", "Bearer", "Basic ek-good", "ek-good"}) {
    TestClient client = connect();
    client.send(std::string("GET /api/v1/apps HTTP/1.1\r\nHost: localhost\r\nAuthorization: ") +
                value + "\r\n\r\n");
    EXPECT_EQ(client.read().status, 401) << value;
  }
}

TEST_F(AccessTest, AnswersAnUnknownPathWithoutAKeyLikeAnyOther) {
  TestClient client = connect();
  client.send("GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.read().status, 401);
}

TEST_F(AccessTest, LooksAKeyUpOnceASecondForEachConnection) {
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

TEST_F(AccessTest, OpensNothingForARevokedKeyFromThenOn) {
  TestClient client = connect();
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 200);
  control.good_key = "ek-other";
  ++control.changes_of_keys;
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 401);
}

TEST_F(AccessTest, EndsTheStreamsOfARevokedKey) {
  TestClient client = connect();
  client.send(request("GET", "/api/v1/logs?app=shop&follow=true"));
  EXPECT_EQ(client.read(false).status, 200);
  control.good_key = "ek-other";
  tick(1);
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(AccessTest, PassesWhatIsAskedOfKeysOn) {
  EXPECT_EQ(ask("GET", "/api/v1/keys").status, 200);
  EXPECT_EQ(ask("POST", "/api/v1/keys", R"({"name": "ci"})").status, 200);
  EXPECT_EQ(ask("POST", "/api/v1/keys/ci/revoke").status, 200);
  EXPECT_EQ(control.asked,
            (std::vector<std::string>{R"(create key {"name": "ci"})", "revoke key ci"}));
}

TEST_F(AccessTest, PassesWhatIsAskedOfSecretsOn) {
  EXPECT_EQ(ask("GET", "/api/v1/secrets").status, 200);
  EXPECT_EQ(ask("GET", "/api/v1/secrets/db").body, "{\"asked\": \"secret db\"}\n");
  EXPECT_EQ(ask("POST", "/api/v1/secrets", R"({"name": "db"})").status, 200);
  EXPECT_EQ(ask("DELETE", "/api/v1/secrets/db").status, 200);
  EXPECT_EQ(ask("DELETE", "/api/v1/secrets/db?force=true").status, 200);
  EXPECT_EQ(ask("DELETE", "/api/v1/secrets/db?force=yes").status, 400);
  EXPECT_EQ(ask("PUT", "/api/v1/secrets/db", "{}").field("Allow"), "GET, HEAD, DELETE");
  EXPECT_EQ(control.asked,
            (std::vector<std::string>{R"(create secret {"name": "db"})", "delete secret db",
                                      "force delete secret db"}));
}

TEST_F(AccessTest, DoesNotTakeAnotherKeyForTheOneItKnows) {
  TestClient client = connect();
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 200);
  for (const char* key : {"ek-goo", "ek-goodd", "ek-goof"}) {
    client.send(std::string("GET /api/v1/apps HTTP/1.1\r\nHost: localhost\r\nAuthorization: ") +
                "Bearer " + key + "\r\n\r\n");
    EXPECT_EQ(client.read().status, 401) << key;
  }
}

TEST_F(AccessTest, KeepsTheConnectionInStepAfterARefusalWithASmallBody) {
  TestClient client = connect();
  client.send(
      "POST /fn/a/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 24\r\n\r\n"
      "GET /healthz HTTP/1.1\r\n\r");
  EXPECT_EQ(client.read().status, 401);
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 200);
}

TEST_F(AccessTest, AnswersOnLoopbackOnlyToNamesOfThisMachine) {
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

}  // namespace
}  // namespace ember
