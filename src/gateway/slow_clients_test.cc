// Clients that are slow, silent or do not read: who is closed, who is waited for.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

#include "gateway/test_client.h"

namespace ember {
namespace {

class SlowClientsTest : public GatewayTest {};

TEST_F(SlowClientsTest, ClosesASilentClientAfterTheHeadTimeout) {
  TestClient client = connect();
  ASSERT_TRUE(turn_until([&] { return server().open_connections() == 1; }));
  tick(9);
  EXPECT_EQ(server().open_connections(), 1u);
  tick(2);
  EXPECT_EQ(server().open_connections(), 0u);
}

TEST_F(SlowClientsTest, ClosesAClientThatDripsItsHead) {
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

TEST_F(SlowClientsTest, KeepsAnIdleClientLongerThanASlowOne) {
  TestClient client = connect();
  client.send(request("GET", "/api/v1/apps"));
  EXPECT_EQ(client.read().status, 200);
  tick(100);
  EXPECT_EQ(server().open_connections(), 1u);
  tick(21);
  EXPECT_EQ(server().open_connections(), 0u);
}

TEST_F(SlowClientsTest, ClosesAClientThatDripsItsBody) {
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

TEST_F(SlowClientsTest, WaitsForAClientWhoseBodyKeepsTheRate) {
  TestClient client = connect();
  client.send(request("PUT", "/api/v1/blobs/aa", "", "Content-Length: 61440\r\n"));
  for (int second = 0; second < 30; ++second) {
    client.send(std::string(2048, 'x'));
    loop.poll();
    tick(1);
  }
  EXPECT_EQ(client.read().status, 200);
}

TEST_F(SlowClientsTest, NeverCutsACallShort) {
  TestClient client = connect();
  client.send(request("POST", "/fn/a/b", "{}"));
  ASSERT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  tick(100'000);
  control.calls[0].waiter->on_result({BodyFormat::json, "1"}, {});
  EXPECT_EQ(client.read().status, 200);
}

TEST_F(SlowClientsTest, ClosesAClientThatDoesNotReadItsAnswer) {
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
TEST_F(SlowClientsTest, ClosesAClientThatReadsItsAnswerInDrips) {
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

TEST_F(SlowClientsTest, WaitsForAClientThatReadsItsAnswerAtALowRate) {
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

TEST_F(SlowClientsTest, ServesOthersWhileOneDoesNotRead) {
  TestClient stuck = connect();
  stuck.send(request("POST", "/fn/a/b", "{}"));
  ASSERT_TRUE(turn_until([&] { return control.calls.size() == 1; }));
  control.calls[0].waiter->on_result({BodyFormat::bytes, std::string(32u << 20, 'x')}, {});
  EXPECT_EQ(ask("GET", "/api/v1/apps").status, 200);
}

TEST_F(SlowClientsTest, ClosesARefusedClientThatGoesOnSending) {
  TestClient client = connect();
  client.send("nonsense\r\n\r\n");
  EXPECT_EQ(client.read().status, 400);
  tick(3);
  EXPECT_EQ(server().open_connections(), 0u);
}

}  // namespace
}  // namespace ember
