// The API: which request reaches control, which does not, and how what control says is answered.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "gateway/test_client.h"

namespace ember {
namespace {

using nlohmann::json;

class ApiTest : public GatewayTest {};

struct RouteCase {
  const char* method;
  const char* target;
  const char* body;
  const char* asked;  // what control was asked, as the answer repeats it
};

class RouteTest : public ApiTest, public ::testing::WithParamInterface<RouteCase> {};

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
    Api, RouteTest,
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
        RouteCase{"POST", "/api/v1/apps/shop/rollback", R"({"strategy": "recreate"})",
                  "rollback shop 0 at once"},
        RouteCase{"POST", "/api/v1/apps/shop/stop", "", "stop shop"},
        RouteCase{"GET", "/api/v1/containers", "", "containers"},
        RouteCase{"GET", "/api/v1/containers/ct-0000000000007/processes", "",
                  "processes ct-0000000000007"},
        RouteCase{"GET", "/api/v1/containers/ct-0000000000007/stacks", "",
                  "stacks ct-0000000000007"},
        RouteCase{"POST", "/api/v1/containers/ct-0000000000007/stop", "", "stop ct-0000000000007"},
        RouteCase{"POST", "/api/v1/containers/ct-0000000000007/stop?now=true", "",
                  "stop now ct-0000000000007"},
        RouteCase{"POST", "/api/v1/apps/shop/shell?function=price", "", "shell shop price"},
        RouteCase{"GET", "/api/v1/nodes", "", "nodes"},
        RouteCase{"GET", "/api/v1/calls", "", "calls  50"},
        RouteCase{"GET", "/api/v1/calls?app=shop&limit=7", "", "calls shop 7"},
        RouteCase{"GET", "/api/v1/calls/fc-0000000000001", "", "call fc-0000000000001"},
        RouteCase{"GET", "/api/v1/calls/fc-0000000000001/cost", "", "call cost fc-0000000000001"},
        RouteCase{"GET", "/api/v1/cost", "", "cost   0 1700000000000"},
        RouteCase{"GET", "/api/v1/cost?by=app,day&app=a+b%21&from_ms=5&until_ms=9", "",
                  "cost app,day a b! 5 9"},
        RouteCase{"GET", "/api/v1/prices", "", "prices"}));

INSTANTIATE_TEST_SUITE_P(
    Volumes, RouteTest,
    ::testing::Values(
        RouteCase{"GET", "/api/v1/volumes/v", "", "show v"},
        RouteCase{"GET", "/api/v1/volumes/v/history", "", "history v"},
        RouteCase{"POST", "/api/v1/volumes/v/delete", "", "delete v"},
        RouteCase{"POST", "/api/v1/volumes/v/rollback", R"({"version": 3})", "rollback v 3"},
        RouteCase{"GET", "/api/v1/volumes/v/tree", "", "tree v  0  1000"},
        RouteCase{"GET",
                  "/api/v1/volumes/v/tree?path=a%2Fb&version=2&recursive=true&after=c&limit=9", "",
                  "tree v a/b 2 recursive c 9"},
        RouteCase{"GET", "/api/v1/volumes/v/file?path=a&offset=5&length=7", "", "read v a 5 7"},
        RouteCase{"POST", "/api/v1/volumes/v/needs", "x", "needs v x"},
        RouteCase{"POST", "/api/v1/volumes/v/commit", "x", "commit v x"},
        RouteCase{"PUT", "/api/v1/files", "x", "files x"},
        RouteCase{"PUT", "/api/v1/files/ab?size_bytes=9", "x", "begin ab 9 x"},
        RouteCase{"PUT", "/api/v1/files/ab/chunks/3", "x", "chunk ab 3 x"},
        RouteCase{"PUT", "/api/v1/drafts/ab?size_bytes=9", "", "draft ab 9"},
        RouteCase{"PUT", "/api/v1/drafts/ab/chunks/3", "x", "draft chunk ab 3 x"},
        RouteCase{"POST", "/api/v1/drafts/ab/finish", "", "finish ab"}));

struct BadRequestCase {
  const char* method;
  const char* target;
  const char* body;
  int status;
};

class BadRequestTest : public ApiTest, public ::testing::WithParamInterface<BadRequestCase> {};

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
    Api, BadRequestTest,
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
        BadRequestCase{"POST", "/api/v1/apps/shop/rollback", R"({"strategy": "surge"})", 400},
        BadRequestCase{"POST", "/api/v1/apps/shop/rollback", R"({"strategy": 1})", 400},
        BadRequestCase{"GET", "/api/v1/calls?limit=0", "", 400},
        BadRequestCase{"GET", "/api/v1/calls?limit=x", "", 400},
        BadRequestCase{"GET", "/api/v1/calls/nonsense", "", 404},
        BadRequestCase{"POST", "/api/v1/calls/nonsense/cancel", "", 404},
        BadRequestCase{"GET", "/api/v1/cost?from_ms=-1", "", 400},
        BadRequestCase{"GET", "/api/v1/logs", "", 400},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&last=x", "", 400},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&since_ms=yesterday", "", 400},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&since_ms=-1", "", 400},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&until_ms=253402300800000", "", 400},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&since_ms=2&until_ms=1", "", 400},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&until_ms=2&follow=true", "", 400},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&search=a%0Ab", "", 400},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&call=x", "", 404},
        BadRequestCase{"GET", "/api/v1/logs?app=shop&container=x", "", 404},
        BadRequestCase{"DELETE", "/api/v1/apps", "", 405},
        BadRequestCase{"POST", "/api/v1/apps", "{}", 405},
        BadRequestCase{"GET", "/fn/shop/price", "", 405},
        BadRequestCase{"OPTIONS", "/api/v1/apps", "", 405},
        BadRequestCase{"BREW", "/api/v1/apps", "", 405}));

TEST_F(ApiTest, ReadsDeeplyNestedJsonWithoutHarm) {
  const std::string deep =
      R"({"version": )" + std::string(30'000, '[') + std::string(30'000, ']') + "}";
  EXPECT_EQ(ask("POST", "/api/v1/apps/shop/rollback", deep).status, 400);
}

TEST_F(ApiTest, NamesTheMethodsOfAPath) {
  EXPECT_EQ(ask("DELETE", "/api/v1/apps").field("Allow"), "GET, HEAD");
  EXPECT_EQ(ask("GET", "/fn/shop/price").field("Allow"), "POST");
  EXPECT_EQ(ask("GET", "/api/v1/blobs/aa").field("Allow"), "PUT");
}

TEST_F(ApiTest, SaysNothingOfOtherOrigins) {
  const auto response = ask("GET", "/api/v1/apps", "", "Origin: http://evil.example\r\n");
  EXPECT_EQ(response.head.find("Access-Control"), std::string::npos);
}

TEST_F(ApiTest, AnswersHeadWithTheHeadOfGet) {
  TestClient client = connect();
  client.send(request("HEAD", "/api/v1/apps") + request("GET", "/api/v1/apps"));
  const auto head = client.read(false);
  const auto get = client.read();
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.field("Content-Length"), get.field("Content-Length"));
  EXPECT_EQ(get.body.size(), std::stoul(head.field("Content-Length")));
}

TEST_F(ApiTest, TakesSourcesBlobsHeartbeatsAndCancellations) {
  EXPECT_EQ(json::parse(ask("POST", "/api/v1/sources", R"({"files": []})").body),
            json::parse(R"({"digest": "src-1", "missing": ["aa", "bb"]})"));
  EXPECT_EQ(ask("PUT", "/api/v1/blobs/abc", "bytes").status, 200);
  EXPECT_EQ(control.blobs["abc"], "bytes");
  EXPECT_EQ(ask("POST", "/api/v1/apps/shop/heartbeat").status, 200);
  EXPECT_EQ(control.asked.back(), "heartbeat shop");
  EXPECT_EQ(ask("POST", "/api/v1/calls/fc-0000000000009/cancel").status, 200);
  EXPECT_EQ(control.cancelled, std::vector{CallId{9}});
}

TEST_F(ApiTest, ListsRunsAndPausesSchedules) {
  EXPECT_TRUE(json::parse(ask("GET", "/api/v1/schedules").body)["schedules"].empty());
  const std::string path = "/api/v1/apps/docs/functions/echo/schedule/";
  const auto run = ask("POST", path + "run");
  EXPECT_EQ(run.status, 202);
  EXPECT_EQ(json::parse(run.body)["call_id"], CallId{0x123}.text());
  EXPECT_EQ(json::parse(ask("POST", path + "pause").body)["paused"], true);
  EXPECT_EQ(json::parse(ask("POST", path + "resume").body)["paused"], false);
  EXPECT_EQ(ask("POST", "/api/v1/apps/shop/functions/echo/schedule/run").status, 404);
  EXPECT_EQ(ask("POST", path + "stop").status, 404);
  EXPECT_EQ(control.fake_schedules.asked,
            (std::vector<std::string>{"run docs.echo", "pause docs.echo", "resume docs.echo",
                                      "run shop.echo"}));
}

TEST_F(ApiTest, PassesControlsErrorsOn) {
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

TEST_F(ApiTest, DropsAnAnswerThatComesAfterItsClientLeft) {
  control.answer_later = true;
  TestClient client = connect();
  client.send(request("POST", "/api/v1/apps/shop/stop"));
  ASSERT_TRUE(turn_until([&] { return control.pending.size() == 1; }));
  client.hang_up();
  ASSERT_TRUE(turn_until([&] { return server().open_connections() == 0; }));
  control.pending[0](std::string("{}"));
}

}  // namespace
}  // namespace ember
