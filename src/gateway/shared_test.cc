// Dictionaries and queues over HTTP: /api/v1/dicts/… and /api/v1/queues/….
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/test_client.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kPickle = "Content-Type: application/x-ember-pickle\r\n";
constexpr std::string_view kBytes = "Content-Type: application/octet-stream\r\n";

class SharedTest : public GatewayTest {
 protected:
  FakeShared& fake() { return control.fake_shared; }
  void has(BodyFormat format, const std::string& bytes) {
    fake().items.push_back({"a", 7, static_cast<std::int64_t>(bytes.size()), {format, bytes}});
  }
};

TEST_F(SharedTest, ValuesArePutAndGotAsTheyAre) {
  EXPECT_EQ(ask("PUT", "/api/v1/dicts/settings/entry?key=a%2Fb&skip_if_exists=true", "\x80\x04N.",
                kPickle)
                .body,
            "{\"put\": 1}\n");
  ASSERT_EQ(fake().given.size(), 1u);
  EXPECT_EQ(fake().given[0].key, "a/b");
  EXPECT_EQ(fake().given[0].value.format, BodyFormat::pickle);
  EXPECT_EQ(fake().given[0].value.bytes, "\x80\x04N.");
  has(BodyFormat::json, "[1]");
  const auto got = ask("GET", "/api/v1/dicts/settings/entry?key=a");
  EXPECT_EQ(got.body, "[1]");
  EXPECT_EQ(got.field("Content-Type"), "application/json");
  EXPECT_EQ(ask("DELETE", "/api/v1/dicts/settings/entry?key=a").body, "[1]");
  EXPECT_THAT(fake().asked,
              ElementsAre("put new dict settings", "get dict settings a", "pop dict settings a"));
}

TEST_F(SharedTest, AFormIsJsonAndWhatIsUnknownIsBytes) {
  const char* path = "/api/v1/queues/jobs/item";
  ask("POST", path, "{}");
  EXPECT_EQ(fake().given.at(0).value.format, BodyFormat::json);
  ask("POST", path, "\xff", kBytes);
  EXPECT_EQ(fake().given.at(0).value.format, BodyFormat::bytes);
}

TEST_F(SharedTest, AKeyThatIsNotThereIsA404) {
  const auto response = ask("GET", "/api/v1/dicts/settings/entry?key=a");
  EXPECT_EQ(response.status, 404);
  EXPECT_THAT(response.body, HasSubstr("no such key"));
  EXPECT_EQ(ask("POST", "/api/v1/queues/jobs/take").status, 404);
}

TEST_F(SharedTest, BatchesHaveManyValues) {
  const std::string batch =
      "{\"items\": [{\"key\": \"a\", \"format\": \"bytes\", "
      "\"size_bytes\": 2}]}\n12";
  EXPECT_EQ(ask("POST", "/api/v1/dicts/settings/entries", batch, kBytes).body, "{\"put\": 1}\n");
  EXPECT_EQ(fake().given.at(0).value.bytes, "12");
  EXPECT_EQ(ask("POST", "/api/v1/dicts/settings/entries", "12", kBytes).status, 400);
  has(BodyFormat::pickle, "abc");
  const auto got = ask("GET", "/api/v1/dicts/settings/entry?key=a&batch=true&values=true");
  EXPECT_EQ(got.field("Content-Type"), "application/octet-stream");
  EXPECT_THAT(got.body, HasSubstr("\"more\":false}\nabc"));
  EXPECT_EQ(fake().asked.back(), "get dict settings a");
  ask("GET", "/api/v1/dicts/settings/entry?key=a&batch=true&values=false");
  EXPECT_EQ(fake().asked.back(), "find dict settings a");
  const auto listed = ask("GET", "/api/v1/queues/jobs/items?partition=p&after=3&limit=5");
  EXPECT_EQ(listed.field("Content-Type"), "application/json");
  EXPECT_THAT(listed.body, HasSubstr(R"({"sequence":7,"format":"pickle","size_bytes":3})"));
  EXPECT_EQ(fake().asked.back(), "page queue jobs in 'p' after '3' limit 5");
}

TEST_F(SharedTest, PartitionsAreNamedOrAllOfThem) {
  ask("GET", "/api/v1/queues/jobs");
  ask("GET", "/api/v1/queues/jobs?partition=");
  ask("POST", "/api/v1/queues/jobs/clear?partition=p");
  ask("POST", "/api/v1/dicts/settings/clear");
  ask("POST", "/api/v1/queues/jobs/item?partition=p&ttl_ms=1500", "1");
  ask("POST", "/api/v1/queues/jobs/delete");
  EXPECT_THAT(fake().asked, ElementsAre("show queue jobs in all", "show queue jobs in ",
                                        "clear queue jobs in p", "clear dict settings in all",
                                        "put queue jobs in 'p' for 1500", "remove queue jobs"));
}

TEST_F(SharedTest, AFullPartitionIsA429WithItsLimit) {
  fake().is_full = true;
  const auto response = ask("POST", "/api/v1/queues/jobs/item", "1");
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.field("Retry-After"), "1");
  EXPECT_THAT(response.body, HasSubstr("\"name\": \"partition_items\""));
}

TEST_F(SharedTest, RefusalsHaveTheirStatus) {
  EXPECT_EQ(ask("POST", "/api/v1/queues/jobs/item?ttl_ms=0", "1").status, 400);
  EXPECT_EQ(ask("POST", "/api/v1/queues/jobs/take?wait_ms=60001").status, 400);
  EXPECT_EQ(ask("POST", "/api/v1/queues/jobs/take?wait_ms=x").status, 400);
  fake().refusal = Error{ErrorCode::storage_failed, "the disk is full"};
  EXPECT_EQ(ask("PUT", "/api/v1/dicts/settings/entry?key=a", "1").status, 507);
  fake().refusal = Error{ErrorCode::not_found, "there is no queue"};
  EXPECT_EQ(ask("POST", "/api/v1/queues/jobs/take").status, 404);
  EXPECT_EQ(ask("POST", "/api/v1/queues/jobs/heartbeat").status, 404);
}

TEST_F(SharedTest, AGetterIsAnsweredWhenAnItemComes) {
  fake().takes_wait = true;
  TestClient client = connect();
  EXPECT_TRUE(client.send(request("POST", "/api/v1/queues/jobs/take?wait_ms=60000&partition=p")));
  ASSERT_TRUE(turn_until([&] { return !fake().getters.empty(); }));
  EXPECT_THAT(fake().asked, ElementsAre("take queue jobs in 'p' 1 within 60000"));
  fake().getters[0](SharedItems{{{"", 1, 1, {BodyFormat::json, "7"}}}, false});
  EXPECT_EQ(client.read().body, "7");
}

TEST_F(SharedTest, AGetterThatHangsUpLeavesItsPlace) {
  fake().takes_wait = true;
  TestClient client = connect();
  EXPECT_TRUE(client.send(request("POST", "/api/v1/queues/jobs/take_items?wait_ms=60000&count=3")));
  ASSERT_TRUE(turn_until([&] { return !fake().getters.empty(); }));
  EXPECT_EQ(fake().places_left, 0);
  client.hang_up();
  EXPECT_TRUE(turn_until([&] { return fake().places_left == 1; }));
}

}  // namespace
}  // namespace ember
