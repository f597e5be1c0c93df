// Maps: many calls over one conversation, whatever the client says.
#include "control/map_sessions.h"

#include <csignal>
#include <set>
#include <tuple>

#include "control/control_fixture.h"
#include "control/map_records.h"

namespace ember {
namespace {

using testing::HasSubstr;

constexpr std::uint8_t kJson = static_cast<std::uint8_t>(BodyFormat::json);

std::string input(std::uint64_t number, std::string_view body, std::uint8_t format = kJson) {
  const auto length = static_cast<std::uint32_t>(body.size());
  std::string bytes(kMapInputHeadBytes, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  std::memcpy(bytes.data() + 8, &length, sizeof length);
  bytes[12] = static_cast<char>(format);
  return bytes.append(body);
}

struct Client final : MessageClient {
  struct Got {
    std::uint8_t kind = 0;
    CallId call;
    std::string body;
  };

  void send_text(std::string_view text) override { said.push_back(JsonValue::parse(text)); }
  void send_bytes(std::string_view given) override {
    bytes += given.size();
    unread.append(given);
    while (unread.size() >= kMapResultHeadBytes) {
      std::uint64_t number = 0;
      std::uint32_t length = 0;
      Got got;
      std::memcpy(&number, unread.data(), sizeof number);
      std::memcpy(&length, unread.data() + 8, sizeof length);
      std::memcpy(&got.kind, unread.data() + 12, sizeof got.kind);
      std::memcpy(&got.call.value, unread.data() + 13, sizeof got.call.value);
      if (unread.size() < kMapResultHeadBytes + length) return;
      got.body = unread.substr(kMapResultHeadBytes, length);
      unread.erase(0, kMapResultHeadBytes + length);
      EXPECT_TRUE(results.emplace(number, std::move(got)).second) << "answered twice";
    }
  }
  void end_messages() override { ++ends; }

  // The newest that has been said of it.
  JsonValue last(const char* member) const {
    JsonValue found;
    for (const JsonValue& one : said) found = one.value(member, found);
    return found;
  }
  std::size_t window() const {
    const JsonValue told = last("window");
    return told.is_null() ? 0 : told["inputs"].get<std::size_t>();
  }
  std::string error() const {
    const JsonValue told = last("error");
    return told.is_null() ? "" : told["message"].get<std::string>();
  }

  std::vector<JsonValue> said;
  std::map<std::uint64_t, Got> results;
  std::string unread;
  std::size_t bytes = 0;
  int ends = 0;
};

class MapSessionsTest : public ControlTest {
 protected:
  void TearDown() override {
    session.reset();
    ControlTest::TearDown();
  }
  Result<std::unique_ptr<MessageSession>> ask(MessageClient& of, const std::string& name,
                                              KeyId key = KeyId{7}) {
    return control->open_map({"docs", name, key, variant}, of);
  }
  void open_session(const std::string& name) {
    auto opened = ask(client, name);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    session = std::move(*opened);
    until([&] { return client.window() > 0; });
  }
  void send_inputs(std::uint64_t from, std::uint64_t to) {
    std::string bytes;
    for (std::uint64_t i = from; i < to; ++i)
      bytes += input(i, "{\"n\": " + std::to_string(i) + "}");
    session->on_bytes(bytes);
  }
  std::size_t live_calls() { return json(control->calls_json("docs", 1000))["calls"].size(); }
  // The first of what it works at.
  static void answer(FakeContainer& container) {
    const FakeRunner::Frame input = std::move(container.inputs.front());
    container.inputs.erase(container.inputs.begin());
    container.runner->send(FrameType::result, input.body.substr(8), input.header.stream,
                           input.header.attempt);
  }
  std::size_t inputs_at_work() {
    std::size_t count = 0;
    for (const auto& [id, container] : node.containers) count += container.inputs.size();
    return count;
  }

  Client client;
  std::unique_ptr<MessageSession> session;
  std::string variant;  // of what is mapped
};

TEST_F(MapSessionsTest, EachInputIsACallAndTheTotalsComeLast) {
  must_deploy("docs", {function("echo")});
  open_session("echo");
  EXPECT_EQ(client.window(), kLeastMapInputs);
  send_inputs(0, 50);
  session->on_text(R"({"end_of_input": true})");
  until([&] { return client.ends == 1; });
  ASSERT_EQ(client.results.size(), 50u);
  std::set<std::uint64_t> calls;
  for (const auto& [number, got] : client.results) {
    EXPECT_EQ(got.kind, kJson);
    EXPECT_EQ(got.body, "{\"n\": " + std::to_string(number) + "}");
    calls.insert(got.call.value);
    EXPECT_TRUE(control->call_json(got.call).ok());
  }
  EXPECT_EQ(calls.size(), 50u);
  const JsonValue end = client.said.back()["end"];
  EXPECT_EQ(end["done"], 50);
  EXPECT_EQ(end["failed"], 0);
  EXPECT_EQ(end["unanswered"], 0);
  EXPECT_NE(end["cost_usd"], "0.000000000") << "the start of the container at least";
}

TEST_F(MapSessionsTest, NoInputsEndAtOnce) {
  must_deploy("docs", {function("echo")});
  open_session("echo");
  session->on_text(R"({"end_of_input": true})");
  EXPECT_EQ(client.ends, 1);
  EXPECT_EQ(client.said.back()["end"]["done"], 0);
  EXPECT_TRUE(node.containers.empty());
}

TEST_F(MapSessionsTest, InputsAreCutWhereverTheyLike) {
  must_deploy("docs", {function("echo")});
  open_session("echo");
  const std::string bytes = input(3, R"({"a": 1})") + input(1ull << 40, "{}") + input(4, "");
  for (const char& byte : bytes) session->on_bytes({&byte, 1});
  session->on_text(R"({"end_of_input": true})");
  until([&] { return client.ends == 1; });
  EXPECT_EQ(client.results[3].body, R"({"a": 1})");
  EXPECT_EQ(client.results[1ull << 40].body, "{}");
  EXPECT_TRUE(client.results.contains(4));
}

TEST_F(MapSessionsTest, WhatAnInputRaisesIsItsResultAndTheOthersGoOn) {
  must_deploy("docs", {function("raise")});
  open_session("raise");
  send_inputs(0, 3);
  session->on_text(R"({"end_of_input": true})");
  until([&] { return client.ends == 1; });
  ASSERT_EQ(client.results.size(), 3u);
  EXPECT_EQ(client.results[1].kind, kJson | kMapFailed);
  EXPECT_TRUE(json(client.results[1].body).contains("kind")) << client.results[1].body;
  EXPECT_EQ(client.said.back()["end"]["failed"], 3);
}

TEST_F(MapSessionsTest, AFullQueueHoldsInputsUpAndFailsNone) {
  must_deploy("docs", {function("slow", R"("max_containers": 1, "queue_limit": 2)")});
  open_session("slow");
  send_inputs(0, 20);
  until_running();
  for (int i = 0; i < 5; ++i) pass(Duration::milliseconds(200));
  EXPECT_EQ(live_calls(), 3u) << "one runs and two wait; the others are not calls yet";
  session->on_text(R"({"end_of_input": true})");
  until([&] {
    auto& inputs = node.only().inputs;
    if (!inputs.empty()) answer(node.only());
    return client.ends == 1;
  });
  EXPECT_EQ(client.results.size(), 20u);
  EXPECT_EQ(client.said.back()["end"]["failed"], 0);
}

TEST_F(MapSessionsTest, RoomThatOthersMakeIsFoundBySimplyLookingAgain) {
  must_deploy("docs", {function("slow", R"("max_containers": 1, "queue_limit": 1)")});
  Caller running, waiting;
  must_start("docs", "slow", running);
  until_running();
  must_start("docs", "slow", waiting);
  open_session("slow");
  send_inputs(0, 1);
  control->abandon_call(waiting.report.call);
  answer(node.only());
  until([&] { return running.done(); });
  until([&] {
    pass(Duration::milliseconds(200));
    if (!node.only().inputs.empty()) answer(node.only());
    return client.results.size() == 1;
  });
}

TEST_F(MapSessionsTest, TheWindowGrowsWithTheContainers) {
  must_deploy("docs", {function("slow", R"("max_containers": 10, "max_inputs": 4)")});
  open_session("slow");
  EXPECT_EQ(client.window(), kLeastMapInputs);
  send_inputs(0, 64);
  until([&] {
    pass(Duration::milliseconds(200));
    return client.window() == 4 * 4 * 10;
  });
  until([&] {
    pass(Duration::milliseconds(200));
    const JsonValue told = client.last("progress");
    return !told.is_null() && told["containers"] == 10;
  });
}

TEST_F(MapSessionsTest, AClientThatGoesWithdrawsAllThatRunsAndWaits) {
  must_deploy("docs", {function("slow", R"("max_containers": 2, "queue_limit": 10)")});
  open_session("slow");
  send_inputs(0, 30);
  until([&] { return inputs_at_work() == 2; });
  session.reset();
  until([&] { return inputs_at_work() == 0; });
  for (const JsonValue& call : json(control->calls_json("docs", 1000))["calls"]) {
    EXPECT_EQ(call["state"], "cancelled");
  }
  EXPECT_TRUE(client.results.empty());
}

TEST_F(MapSessionsTest, ResultsThatAreNotTakenHoldBackMoreOfThem) {
  must_deploy("docs", {function("echo")});
  open_session("echo");
  const std::string body = "\"" + std::string(40'000, 'x') + "\"";
  std::string bytes;
  for (std::uint64_t i = 0; i < 30; ++i) bytes += input(i, body);
  session->on_bytes(bytes);
  session->on_text(R"({"end_of_input": true})");
  until([&] { return client.bytes == kMapResultBytes; });
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_EQ(client.bytes, kMapResultBytes);
  EXPECT_EQ(client.ends, 0);
  until([&] {
    session->on_text(R"({"taken": 100000})");
    return client.results.size() == 30 || client.ends > 0 || !client.error().empty();
  });
  EXPECT_EQ(client.error(), "");
  EXPECT_EQ(client.ends, 1);
}

TEST_F(MapSessionsTest, ACrashedContainerSInputsRunAgain) {
  must_deploy("docs", {function("slow", R"("max_containers": 1, "max_inputs": 4)")});
  open_session("slow");
  send_inputs(0, 4);
  until([&] { return inputs_at_work() == 4; });
  node.end(node.containers.begin()->first, 0, SIGKILL);
  until([&] { return inputs_at_work() == 4; });
  while (!node.only().inputs.empty()) answer(node.only());
  until([&] { return client.results.size() == 4; });
  for (const auto& [number, got] : client.results) EXPECT_EQ(got.kind, kJson) << got.body;
}

TEST_F(MapSessionsTest, AnAppThatStopsEndsTheMapWithTheReason) {
  must_deploy("docs", {function("slow", R"("max_containers": 1, "queue_limit": 1)")});
  open_session("slow");
  send_inputs(0, 10);
  until_running();
  EXPECT_TRUE(wait_for<std::string>([&](auto done) { control->stop_app("docs", done); }).ok());
  until([&] {
    pass(Duration::milliseconds(200));
    return client.ends == 1;
  });
  EXPECT_THAT(client.error(), HasSubstr("docs"));
}

TEST_F(MapSessionsTest, GeneratorsAreNotMappedOver) {
  must_deploy("docs", {function("slow", R"("is_generator": true)")});
  const auto refused = ask(client, "slow");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr(".remote_gen("));
}

TEST_F(MapSessionsTest, WhoBreaksTheRulesIsToldHowAndLetGo) {
  must_deploy("docs", {function("slow")});
  std::string too_many;
  for (std::uint64_t i = 0; i <= kLeastMapInputs; ++i) too_many += input(i, "{}");
  const std::string huge = input(1, "").replace(8, 4, "\xff\xff\xff\xff", 4);
  const std::string large = input(1, "").replace(8, 4, std::string("\x00\x00\x00\x02", 4));
  const std::vector<std::tuple<std::string, std::string, std::string>> cases = {
      {too_many, "", "window"},
      {huge, "", "over the limit"},
      {input(0, "{}") + large, "", "window"},
      {input(5, "{}") + input(5, "{}"), "", "number 5"},
      {input(5, "{}", 9), "", "format"},
      {input(5, "{}").substr(0, 14), R"({"end_of_input": true})", "within an input"},
      {"", R"({"taken": 1})", "taken"},
      {"", R"({"taken": -1})", "taken"},
      {"", R"({"nonsense": 1})", "nonsense"},
      {"", "[", "JSON"},
  };
  for (const auto& [bytes, text, said] : cases) {
    client = {};
    open_session("slow");
    session->on_bytes(bytes);
    if (!text.empty()) session->on_text(text);
    EXPECT_EQ(client.ends, 1) << said;
    EXPECT_THAT(client.error(), HasSubstr(said));
    session->on_bytes(bytes);
    session->on_text("nonsense");
    EXPECT_EQ(client.ends, 1) << "what comes after is not read";
    session.reset();
  }
  client = {};
  open_session("slow");
  session->on_text(R"({"end_of_input": true})");
  session->on_bytes("x");
  EXPECT_EQ(client.ends, 1);
}

TEST_F(MapSessionsTest, OneAloneMayBeLargerThanTheWindowOfBytes) {
  must_deploy("docs", {function("echo")});
  open_session("echo");
  session->on_bytes(input(0, std::string(kMapInputBytes + 1, 'x')));
  EXPECT_EQ(client.error(), "");
  EXPECT_EQ(live_calls(), 1u);
}

TEST_F(MapSessionsTest, ACallerHasSoManyAtOnceAndAllHaveSoMany) {
  must_deploy("docs", {function("echo")});
  std::vector<std::unique_ptr<MessageSession>> sessions;
  std::vector<std::unique_ptr<Client>> clients;
  enum class Told : std::uint8_t { open, full, wrong };
  const auto more = [&](KeyId key) {
    clients.push_back(std::make_unique<Client>());
    auto opened = ask(*clients.back(), "echo", key);
    if (!opened)
      return opened.error().code == ErrorCode::resource_exhausted ? Told::full : Told::wrong;
    sessions.push_back(std::move(*opened));
    return Told::open;
  };
  for (std::size_t i = 0; i < kMapsOfCaller; ++i) EXPECT_EQ(more(KeyId{1}), Told::open);
  EXPECT_EQ(more(KeyId{1}), Told::full);
  std::uint64_t key = 2;
  while (sessions.size() < kMapsOfAll) EXPECT_EQ(more(KeyId{key++}), Told::open);
  EXPECT_EQ(more(KeyId{key}), Told::full);
  sessions.erase(sessions.begin());
  EXPECT_EQ(more(KeyId{1}), Told::open);
}

TEST_F(MapSessionsTest, WhatIsNotThereIsRefused) {
  must_deploy("docs", {function("echo")});
  const auto refused = ask(client, "nothing");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::not_found);
  EXPECT_THAT(refused.error().message, HasSubstr("echo"));
}

class VariantMaps : public MapSessionsTest {
 protected:
  void deploy() {
    must_deploy("docs", {function("slow", R"("max_containers": 1, "queue_limit": 1)")});
  }
  void make_variant() {
    const auto made = wait_for<std::string>([&](auto done) {
      control->make_variant("docs", "slow", R"({"options": {"max_inputs": 3}})", done);
    });
    ASSERT_TRUE(made.ok()) << made.error().message;
    variant = json(*made)["variant"].get<std::string>();
  }
  // Of those that have something to do.
  std::vector<int> most_inputs() {
    std::vector<int> found;
    for (const auto& [id, container] : node.containers) {
      if (container.inputs.empty()) continue;
      found.push_back(json(container.spec.function_json)["max_inputs"].get<int>());
    }
    return found;
  }
};

TEST_F(VariantMaps, GoToContainersOfTheVariant) {
  deploy();
  make_variant();
  open_session("slow");
  send_inputs(0, 1);
  until_running();
  EXPECT_THAT(most_inputs(), testing::ElementsAre(3));
}

TEST_F(VariantMaps, GoOnWithTheSameVariantOfTheNextVersion) {
  deploy();
  make_variant();
  open_session("slow");
  send_inputs(0, 4);  // one runs, one waits, and two are held
  until_running();
  deploy();
  while (client.results.size() < 4) {
    until([&] { return inputs_at_work() > 0; });
    EXPECT_THAT(most_inputs(), testing::Each(3));
    for (auto& [id, container] : node.containers) {
      if (!container.inputs.empty()) answer(container);
    }
    const std::size_t answered = client.results.size();
    until([&] { return client.results.size() > answered; });
  }
  EXPECT_EQ(client.error(), "");
}

TEST_F(VariantMaps, WhatIsNotKnownIsRefused) {
  deploy();
  variant = "va-0000000000001";
  EXPECT_EQ(ask(client, "slow").error().code, ErrorCode::not_found);
}

TEST_F(MapSessionsTest, AServerThatGoesDownTakesNoMore) {
  must_deploy("docs", {function("slow")});
  open_session("slow");
  send_inputs(0, 1);
  until_running();
  control->begin_drain([] {});
  send_inputs(1, 2);
  EXPECT_EQ(client.ends, 1);
  EXPECT_THAT(client.error(), HasSubstr("going down"));
  EXPECT_FALSE(ask(client, "slow").ok());
}

}  // namespace
}  // namespace ember
