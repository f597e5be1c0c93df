// The parts that need no socket.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <set>

#include "gateway/error_response.h"
#include "gateway/host_list.h"
#include "gateway/query.h"
#include "gateway/response_head.h"
#include "gateway/router.h"

namespace ember {
namespace {

TEST(Query, FindsAndDecodesValues) {
  const Query query("app=a%20b+c&empty=&n=12&app=second&flag");
  EXPECT_EQ(query.text("app"), "a b c");
  EXPECT_EQ(query.text("empty"), "");
  EXPECT_EQ(query.text("flag"), "");
  EXPECT_EQ(query.text("none"), "");
  EXPECT_EQ(query.number("n"), 12);
  EXPECT_EQ(query.number("none"), std::nullopt);
  EXPECT_EQ(query.number("app"), -1);
}

TEST(Query, RefusesNumbersThatAreNone) {
  for (const char* text : {"n=-1", "n=1x", "n=+1", "n=1.5", "n=99999999999999999999", "n=%00"}) {
    const auto number = Query(text).number("n");
    EXPECT_TRUE(!number.has_value() || *number == -1) << text;
  }
}

TEST(HostList, AllowsAnyNameOnOtherAddresses) {
  EXPECT_TRUE(HostList("0.0.0.0", {}).allows("example.org"));
  EXPECT_FALSE(HostList("::1", {}).allows("example.org"));
  EXPECT_TRUE(HostList("127.0.0.2", {}).allows("127.0.0.2:7777"));
}

TEST(Router, GivesEachRouteItsOwnPath) {
  const auto routes = make_routes(1 << 20);
  std::vector<std::string> parameters;
  for (const Route& route : routes) {
    const Match match = find_route(routes, route.method, route.pattern, parameters);
    EXPECT_EQ(match.route, &route) << route.pattern;
  }
}

TEST(Router, NeedsAKeyEverywhereButForHealthAndTheDocument) {
  for (const Route& route : make_routes(1 << 20)) {
    const bool open = route.pattern == "/healthz" || route.pattern == "/api/openapi.json";
    EXPECT_EQ(route.needs_key, !open) << route.pattern;
  }
}

TEST(OpenapiDocument, HasExactlyTheRoutesOfTheRouter) {
  const auto document = nlohmann::json::parse(kOpenapiDocument);
  std::set<std::string> documented, served;
  for (const auto& [path, operations] : document["paths"].items()) {
    for (const auto& [method, operation] : operations.items()) {
      const bool open = operation.contains("security") && operation["security"].empty();
      documented.insert(method + " " + path + (open ? " without a key" : ""));
    }
  }
  for (const Route& route : make_routes(1 << 20)) {
    const char* method = route.method == Method::get      ? "get "
                         : route.method == Method::post   ? "post "
                         : route.method == Method::remove ? "delete "
                                                          : "put ";
    served.insert(method + std::string(route.pattern) + (route.needs_key ? "" : " without a key"));
  }
  EXPECT_EQ(documented, served);
}

TEST(ResponseHead, WritesMoneyAndTimesExactly) {
  CallReport report;
  report.call = CallId{1};
  report.cost = Money{999'999'999};
  report.start_cost = Money{12'000'000'001};
  report.execute_us = 7;
  std::string out;
  append_call_fields(out, report);
  EXPECT_NE(out.find("Ember-Cost-Usd: 0.999999999\r\n"), std::string::npos);
  EXPECT_NE(out.find("Ember-Start-Cost-Usd: 12.000000001\r\n"), std::string::npos);
  EXPECT_NE(out.find("execute;dur=0.007,"), std::string::npos);
  EXPECT_EQ(out.find("Ember-Gpu"), std::string::npos);
  EXPECT_EQ(out.find("Ember-Container-Id"), std::string::npos);
}

}  // namespace
}  // namespace ember
