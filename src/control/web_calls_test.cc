// Requests to web endpoints: a head, pieces behind it, and an answer in items; and the labels that
// name endpoints.
#include "control/web_calls.h"

#include "control/async_calls.h"
#include "control/control_fixture.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Client final : WebClient {
  void on_piece(std::string bytes) override { pieces.push_back(std::move(bytes)); }
  void on_room(std::size_t bytes) override { room += bytes; }
  void on_end() override { ended = true; }
  void on_failure(CallFailure given) override { failure = std::move(given); }
  bool done() const { return ended || failure; }

  std::vector<std::string> pieces;
  std::size_t room = 0;
  bool ended = false;
  std::optional<CallFailure> failure;
};

std::string web(const std::string& label = "", const std::string& more = "") {
  return R"("web": {"kind": "asgi", "label": ")" + label + "\"" + more + "}";
}

class WebCallsTest : public ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    must_deploy("docs", {function("slow", web()), function("echo")});
  }
  WebService& service() { return control->web(); }
  CallId must_start(Client& client, const std::string& label = "docs-slow") {
    const auto endpoint = service().find(label);
    EXPECT_TRUE(endpoint);
    const auto started = service().start(*endpoint, "GET / HTTP/1.1\r\n\r\n", KeyId{}, &client);
    EXPECT_TRUE(started.ok());
    return *started;
  }
  // Runs the loop for as long as what is on its way takes.
  void settle() {
    for (int i = 0; i < 20; ++i) turn();
  }
  std::vector<std::string> pieces_at_runner() {
    std::vector<std::string> found;
    for (const auto& frame : node.only().others) {
      if (frame.header.type == FrameType::piece) found.push_back(frame.body);
    }
    return found;
  }
  void answer(CallId call, std::string_view item) {
    node.only().runner->send(FrameType::chunk, item, call.value, 1, BodyFormat::bytes);
  }
};

TEST_F(WebCallsTest, ARequestIsACallWhoseItemsAreItsAnswer) {
  Client client;
  const CallId call = must_start(client);
  until_running();
  EXPECT_EQ(node.only().inputs.front().body.substr(8), "GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(body_format(node.only().inputs.front().header), BodyFormat::bytes);
  answer(call, "200\r\n");
  answer(call, "hello");
  node.only().runner->send(FrameType::result, "", call.value, 1, BodyFormat::none);
  until([&] { return client.done(); });
  EXPECT_TRUE(client.ended);
  EXPECT_THAT(client.pieces, ElementsAre("200\r\n", "hello"));
}

TEST_F(WebCallsTest, AnEmptyItemEndsTheAnswerWhileTheAppGoesOn) {
  Client client;
  const CallId call = must_start(client);
  until_running();
  answer(call, "200\r\n");
  answer(call, "");
  until([&] { return client.done(); });
  EXPECT_TRUE(client.ended);
  EXPECT_EQ(json(*control->call_json(call))["state"], "running");
  service().abandon(call);
  settle();
  EXPECT_TRUE(node.interrupted.empty()) << "the client has its answer, and cancels nothing";
  node.only().runner->send(FrameType::result, "", call.value, 1, BodyFormat::none);
  until([&] { return json(*control->call_json(call))["state"] == "succeeded"; });
}

TEST_F(WebCallsTest, PiecesWaitForAContainerAndThenGoOnInOrder) {
  Client client;
  const CallId call = must_start(client);
  service().send(call, "one");
  service().send(call, "two");
  until_running();
  service().send(call, "three");
  service().end(call);
  until([&] { return pieces_at_runner().size() == 4; });
  EXPECT_THAT(pieces_at_runner(), ElementsAre("one", "two", "three", ""));
}

TEST_F(WebCallsTest, RoomIsNoMoreThanWhatWasGiven) {
  Client client;
  const CallId call = must_start(client);
  until_running();
  service().send(call, "12345");
  const auto give = [&](std::uint32_t bytes) {
    node.only().runner->send(FrameType::room, encode_credit({0, bytes}), call.value, 1);
    settle();
  };
  give(3);
  EXPECT_EQ(client.room, 3u);
  give(1000);
  EXPECT_EQ(client.room, 5u);
  give(1);
  EXPECT_EQ(client.room, 5u);
}

TEST_F(WebCallsTest, ARequestRunsOnceThoughItsContainerIsLost) {
  Client client;
  must_start(client);
  until_running();
  node.end(node.only().spec.container, 3);
  until([&] { return client.done(); });
  ASSERT_TRUE(client.failure);
  EXPECT_EQ(client.failure->error.code, ErrorCode::container_crashed);
}

TEST_F(WebCallsTest, AClientThatLeavesCancelsItsRequest) {
  Client client;
  const CallId call = must_start(client);
  until_running();
  service().abandon(call);
  until([&] { return !node.interrupted.empty(); });
  service().send(call, "nobody");
  settle();
  EXPECT_THAT(pieces_at_runner(), ElementsAre());
  EXPECT_FALSE(client.done());
}

TEST_F(WebCallsTest, NothingElseCallsAnEndpoint) {
  Caller caller;
  const auto started = start("docs", "slow", caller);
  ASSERT_FALSE(started.ok());
  EXPECT_THAT(started.error().message, HasSubstr("docs.slow is a web endpoint"));
  std::optional<StartedCall> spawned;
  control->async_calls().spawn(
      {.app = "docs", .function = "slow", .arguments = {BodyFormat::json, "{}"}},
      [&](const StartedCall& call, Acceptance) { spawned = call; });
  ASSERT_TRUE(spawned && !spawned->ok());
  EXPECT_THAT(spawned->error().message, HasSubstr("is a web endpoint"));
}

TEST_F(WebCallsTest, LabelsFollowTheNamesOrAreGiven) {
  must_deploy("My.Shop", {function("Front_Page", web()), function("desk", web("the-desk")),
                          function("open", web("", R"(, "unauthenticated": true)"))});
  EXPECT_EQ(service().find("my-shop-front-page")->function, "Front_Page");
  EXPECT_EQ(service().find("the-desk")->app, "My.Shop");
  EXPECT_EQ(service().find("the-desk")->access, WebAccess::by_key);
  EXPECT_EQ(service().find("my-shop-open")->access, WebAccess::open);
  EXPECT_FALSE(service().find("my-shop-desk"));
  EXPECT_FALSE(service().find("docs-echo"));
}

TEST_F(WebCallsTest, TheMethodsOfAClassHaveTheirOwn) {
  must_deploy("ml", {function("slow", R"("is_async": true, "methods": [{"name": "size"}, )"
                                      R"({"name": "page", "web": {"kind": "asgi"}}])")});
  EXPECT_EQ(service().find("ml-slow-page")->function, "slow.page");
  Client client;
  must_start(client, "ml-slow-page");
  until_running();
  EXPECT_EQ(node.only().inputs.front().header.format >> kFrameMethodShift, 1);
}

TEST_F(WebCallsTest, ALabelIsOneEndpointsUntilItsAppStops) {
  const auto taken = deploy("other", {function("f", web("docs-slow"))});
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code, ErrorCode::conflict);
  EXPECT_THAT(taken.error().message, HasSubstr("is the app docs's"));
  const auto twice = deploy("docs", {function("f", web("same")), function("g", web("same"))});
  ASSERT_FALSE(twice.ok());
  EXPECT_THAT(twice.error().message, HasSubstr("another endpoint's of this app"));
  must_deploy("docs", {function("slow", web())});
  ASSERT_TRUE(wait_for<std::string>([&](auto done) { control->stop_app("docs", done); }).ok());
  EXPECT_FALSE(service().find("docs-slow"));
  must_deploy("other", {function("f", web("docs-slow"))});
  EXPECT_EQ(service().find("docs-slow")->app, "other");
}

TEST_F(WebCallsTest, WhatRunsForOnceHasItsLabelsByItsNames) {
  must_deploy("once", {function("f", web("docs-slow"))}, true);
  EXPECT_EQ(service().find("docs-slow")->app, "docs");
  EXPECT_EQ(service().find("once-f")->app, "once");
}

TEST_F(WebCallsTest, LabelsOutliveTheServer) {
  close();
  open();
  ASSERT_TRUE(service().find("docs-slow"));
  EXPECT_EQ(service().find("docs-slow")->function, "slow");
}

TEST_F(WebCallsTest, UrlsAreToldWhereAppsAre) {
  control->set_web_origin("https", "apps.example.com");
  const auto app = json(*control->app_json("docs"));
  EXPECT_EQ(app["functions"][0]["web"], json(R"([{"name": "slow", "label": "docs-slow",
                      "url": "https://docs-slow.apps.example.com", "unauthenticated": false}])"));
  EXPECT_EQ(app["functions"][1]["web"], JsonValue::array());
  EXPECT_EQ(app["web"].size(), 1u);
}

TEST(WebSpec, SaysWhatIsWrong) {
  const auto refusal = [](const std::string& fields) {
    const auto spec = parse_function_spec(
        JsonValue::parse(R"({"name": "f", "module": "m", "qualname": "f", )" + fields + "}"), "");
    return spec.ok() ? std::string() : spec.error().message;
  };
  EXPECT_EQ(refusal(web("a-1")), "");
  for (const std::string label : {"A", "a.b", "-a", "a-", "a b"}) {
    EXPECT_THAT(refusal(web(label)), HasSubstr("web.label must be"));
  }
  EXPECT_THAT(refusal(R"("web": {"kind": "cgi"})"), HasSubstr("web.kind must be"));
  EXPECT_THAT(refusal(R"("web": 5)"), HasSubstr("web must be an object"));
  EXPECT_THAT(refusal(R"("is_generator": true, )" + web()), HasSubstr("no generator"));
  EXPECT_THAT(refusal(R"("methods": [{"name": "m"}], )" + web()), HasSubstr("its methods"));
  EXPECT_THAT(refusal(R"("methods": [{"name": "m", "web": {"kind": "asgi"}}], )"
                      R"("class_parameters": [{"name": "p", "annotation": "str"}])"),
              HasSubstr("needs a default"));
}

TEST(WebSpec, LabelsAreNamesOfHosts) {
  const WebSpec plain{.kind = "asgi", .label = ""};
  EXPECT_EQ(label_of(plain, "App_1", "Cls.m"), "app-1-cls-m");
  EXPECT_EQ(label_of(plain, std::string(63, 'a'), "f").size(), 63u);
  EXPECT_EQ(label_of(plain, std::string(62, 'a'), "f"), std::string(62, 'a'));
}

}  // namespace
}  // namespace ember
