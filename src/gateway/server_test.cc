// The server itself, over real sockets: where it listens, its health and drains, what it tells of
// itself.
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
        "ember_webhooks_total{state=\"delivered\"} 2", "ember_webhooks_total{state=\"dead\"} 1",
        "ember_webhook_failed_tries_total 5", "ember_webhooks_waiting 3",
        "http_server_open_connections 1"}) {
    EXPECT_NE(response.body.find(std::string(line) + "\n"), std::string::npos) << line;
  }
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
