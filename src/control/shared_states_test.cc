// Dictionaries and queues, live: who may, who waits, what is told.
#include "control/control_fixture.h"
#include "control/flaky_store.h"
#include "control/shared_batch.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SharedStatesTest : public ControlTest {
 protected:
  Store& wrapped_store() override { return flaky; }

  // What is asked for is answered in its time.
  struct Getter {
    bool done() const { return answer.has_value(); }
    std::vector<std::string> values() const {
      std::vector<std::string> all;
      EXPECT_TRUE(answer && answer->ok());
      if (!answer || !answer->ok()) return all;
      for (const SharedItem& item : (*answer)->items) all.push_back(item.value.bytes);
      return all;
    }
    std::optional<Result<SharedItems>> answer;
    std::shared_ptr<void> place;
  };

  static SharedName dict(const std::string& name = "settings") {
    return {kDefaultWorkspace, SharedKind::dict, name};
  }
  static SharedName queue(const std::string& name = "jobs") {
    return {kDefaultWorkspace, SharedKind::queue, name};
  }
  SharedService& shared() { return control->shared(); }

  Result<std::string> create(const SharedName& name, const std::string& more = "") {
    const std::string request = R"({"name": ")" + name.name + "\"" + more + "}";
    return wait_for<std::string>(
        [&](auto done) { shared().create(name.workspace, name.kind, request, done); });
  }
  Result<std::int64_t> put(const std::string& key, const std::string& value,
                           const SharedName& into = dict()) {
    return wait_for<std::int64_t>([&](auto done) {
      shared().put(into, {{key, 0, 0, {BodyFormat::pickle, value}}}, WhenThere::replace, done);
    });
  }
  std::vector<std::string> get(const std::string& key, const SharedName& from = dict()) {
    Getter getter;
    shared().get(from, key, Values::read, [&](auto items) { getter.answer = std::move(items); });
    until([&] { return getter.done(); });
    return getter.values();
  }
  Result<QueuePutOutcome> push(const std::string& item, const std::string& partition = "") {
    return wait_for<QueuePutOutcome>(
        [&](auto done) { shared().put_items(push_request(item, partition), done); });
  }
  static QueuePutRequest push_request(const std::string& item, const std::string& partition = "") {
    return {.queue = queue(), .partition = partition, .items = {{"", 0, 0, {{}, item}}}};
  }
  void begin_take(Getter& getter, Duration patience = Duration::seconds(60), std::int64_t most = 1,
                  const std::string& partition = "") {
    getter.place = shared().take({queue(), partition, most, patience},
                                 [&getter](auto items) { getter.answer = std::move(items); });
  }
  std::vector<std::string> take(std::int64_t most = 1, const std::string& partition = "") {
    Getter getter;
    begin_take(getter, Duration{}, most, partition);
    until([&] { return getter.done(); });
    return getter.values();
  }
  std::int64_t items() {
    const auto shown =
        wait_for<std::string>([&](auto done) { shared().show(queue(), std::nullopt, done); });
    return shown ? json(*shown)["items"].get<std::int64_t>() : -1;
  }

  FlakyStore flaky{store};
};

TEST_F(SharedStatesTest, KeepDictionariesOverARestart) {
  ASSERT_TRUE(create(dict()).ok());
  EXPECT_EQ(*put("a", "1"), 1);
  EXPECT_THAT(get("a"), ElementsAre("1"));
  close();
  open();
  EXPECT_THAT(get("a"), ElementsAre("1"));
  EXPECT_THAT(get("b"), IsEmpty());
}

TEST_F(SharedStatesTest, AreOfTheirNameKindAndWorkspaceAlone) {
  ASSERT_TRUE(create(dict("x")).ok());
  EXPECT_EQ(create(dict("x")).error().code, ErrorCode::conflict);
  EXPECT_TRUE(create(dict("x"), R"(, "may_exist": true)").ok());
  ASSERT_TRUE(create(queue("x")).ok());
  const SharedName theirs{WorkspaceId{2}, SharedKind::dict, "x"};
  EXPECT_EQ(put("a", "1", theirs).error().code, ErrorCode::not_found);
  ASSERT_TRUE(create(theirs).ok());
  ASSERT_TRUE(put("a", "theirs", theirs).ok());
  EXPECT_THAT(get("a", dict("x")), IsEmpty());
  const auto listed = wait_for<std::string>(
      [&](auto done) { shared().list(kDefaultWorkspace, SharedKind::dict, done); });
  ASSERT_EQ(json(*listed)["dicts"].size(), 1u);
  EXPECT_EQ(json(*listed)["dicts"][0]["entries"], 0);
}

TEST_F(SharedStatesTest, RefuseBadNamesKeysAndValues) {
  EXPECT_EQ(create(dict("a/b")).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(create(dict("a"), R"(, "size": 1)").error().code, ErrorCode::invalid_argument);
  const auto missing = put("a", "1", dict("none"));
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_THAT(missing.error().message, HasSubstr("`ember dict create none`"));
  ASSERT_TRUE(create(dict()).ok());
  EXPECT_EQ(put("", "1").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(put(std::string(kMaxDictKeyBytes + 1, 'k'), "1").error().code,
            ErrorCode::invalid_argument);
  ASSERT_TRUE(create(queue()).ok());
  EXPECT_EQ(push(std::string(kMaxQueueItemBytes + 1, 'x')).error().code,
            ErrorCode::payload_too_large);
  EXPECT_EQ(push("x", std::string(kMaxPartitionName + 1, 'p')).error().code,
            ErrorCode::invalid_argument);
}

TEST_F(SharedStatesTest, TellThatTheDiskIsFull) {
  ASSERT_TRUE(create(dict()).ok());
  flaky.full = true;
  EXPECT_EQ(put("a", "1").error().code, ErrorCode::storage_failed);
  EXPECT_EQ(create(dict("other")).error().code, ErrorCode::storage_failed);
  flaky.full = false;
  EXPECT_TRUE(create(dict("other")).ok());
  EXPECT_THAT(get("a"), IsEmpty());
}

TEST_F(SharedStatesTest, HoldNoMoreChangesThanMemoryHasRoomFor) {
  ASSERT_TRUE(create(dict()).ok());
  std::vector<Result<std::int64_t>> answers;
  const auto begin_put = [&] {
    shared().put(dict(), {{"k", 0, 0, {{}, std::string(kMaxDictValueBytes, 'x')}}},
                 WhenThere::replace, [&](Result<std::int64_t> put) { answers.push_back(put); });
  };
  for (int i = 0; i < 5; ++i) begin_put();
  ASSERT_FALSE(answers.empty());
  EXPECT_EQ(answers[0].error().code, ErrorCode::resource_exhausted);
  until([&] { return answers.size() == 5; });
  EXPECT_TRUE(answers.back().ok());
}

TEST_F(SharedStatesTest, HoldNoMoreAnswersThanMemoryHasRoomFor) {
  ASSERT_TRUE(create(dict()).ok());
  ASSERT_TRUE(put("k", std::string(kMaxDictValueBytes, 'x')).ok());
  std::vector<Result<SharedItems>> answers;
  const auto ask = [&] {
    const std::size_t before = answers.size();
    shared().get(dict(), "k", Values::read,
                 [&](Result<SharedItems> items) { answers.push_back(std::move(items)); });
    until([&] { return answers.size() > before; });
  };
  for (int i = 0; i < 4; ++i) ask();
  EXPECT_EQ(answers.back().error().code, ErrorCode::resource_exhausted);
  answers.clear();
  ask();
  EXPECT_TRUE(answers.back().ok());
}

TEST_F(SharedStatesTest, GiveAnItemAtOnceToWhoWaitedForIt) {
  ASSERT_TRUE(create(queue()).ok());
  Getter getter;
  begin_take(getter);
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_FALSE(getter.done());
  ASSERT_TRUE(push("a").ok());
  until([&] { return getter.done(); });  // though no time passes here
  EXPECT_THAT(getter.values(), ElementsAre("a"));
  EXPECT_EQ(items(), 0);
}

TEST_F(SharedStatesTest, ServeWhoWaitsInTurn) {
  ASSERT_TRUE(create(queue()).ok());
  Getter first, second, third;
  begin_take(first);
  begin_take(second, Duration::seconds(60), 2);
  begin_take(third);
  for (const char* item : {"a", "b", "c"}) ASSERT_TRUE(push(item).ok());
  until([&] { return first.done() && second.done(); });
  EXPECT_THAT(first.values(), ElementsAre("a"));
  EXPECT_EQ(second.values().front(), "b");
  if (second.values().size() == 2) {
    EXPECT_FALSE(third.done());
    ASSERT_TRUE(push("d").ok());
  }
  until([&] { return third.done(); });
  EXPECT_EQ(items(), 0);
}

TEST_F(SharedStatesTest, TellNothingCameOnceAGettersTimeIsOver) {
  ASSERT_TRUE(create(queue()).ok());
  Getter impatient, patient;
  begin_take(impatient, Duration::seconds(2));
  begin_take(patient, Duration::seconds(5));
  for (int i = 0; i < 20; ++i) turn();
  pass(Duration::seconds(1));
  EXPECT_FALSE(impatient.done());
  pass(Duration::seconds(1));
  until([&] { return impatient.done(); });
  EXPECT_THAT(impatient.values(), IsEmpty());
  ASSERT_TRUE(push("a").ok());
  until([&] { return patient.done(); });
  EXPECT_THAT(patient.values(), ElementsAre("a"));
  EXPECT_THAT(take(), IsEmpty());
}

TEST_F(SharedStatesTest, LoseNothingByAGetterThatLeaves) {
  ASSERT_TRUE(create(queue()).ok());
  Getter leaver, stayer;
  begin_take(leaver);
  begin_take(stayer);
  for (int i = 0; i < 20; ++i) turn();
  leaver.place.reset();
  ASSERT_TRUE(push("a").ok());
  until([&] { return stayer.done(); });
  EXPECT_THAT(stayer.values(), ElementsAre("a"));
  EXPECT_FALSE(leaver.done());
}

TEST_F(SharedStatesTest, PutBackWhatWasTakenForAGetterThatHasLeft) {
  ASSERT_TRUE(create(queue()).ok());
  for (const char* item : {"a", "b"}) ASSERT_TRUE(push(item).ok());
  Getter leaver;
  begin_take(leaver, Duration::seconds(60), 2);
  leaver.place.reset();  // the take is at the store by now
  EXPECT_THAT(take(3), ElementsAre("a", "b"));
  EXPECT_FALSE(leaver.done());
}

TEST_F(SharedStatesTest, KeepItemsForTheirGettersThoughADiskFails) {
  ASSERT_TRUE(create(queue()).ok());
  ASSERT_TRUE(push("a").ok());
  flaky.full = true;
  Getter getter;
  begin_take(getter);
  until([&] { return getter.done(); });
  EXPECT_EQ(getter.answer->error().code, ErrorCode::storage_failed);
  flaky.full = false;
  EXPECT_THAT(take(), ElementsAre("a"));
}

TEST_F(SharedStatesTest, TellGettersThatTheirQueueIsGone) {
  ASSERT_TRUE(create(queue()).ok());
  Getter getter;
  begin_take(getter);
  ASSERT_TRUE(wait_for<std::string>([&](auto done) { shared().remove(queue(), done); }).ok());
  until([&] { return getter.done(); });
  EXPECT_EQ(getter.answer->error().code, ErrorCode::not_found);
}

TEST_F(SharedStatesTest, LetNobodyWaitOnceTheServerGoesDown) {
  ASSERT_TRUE(create(queue()).ok());
  Getter getter;
  begin_take(getter);
  for (int i = 0; i < 20; ++i) turn();
  control->begin_drain([] {});
  ASSERT_TRUE(getter.done());
  EXPECT_EQ(getter.answer->error().code, ErrorCode::unavailable);
  Getter late;
  begin_take(late);
  EXPECT_EQ(late.answer->error().code, ErrorCode::unavailable);
}

TEST_F(SharedStatesTest, AreNotDownBeforeWhatNobodyGotIsBackOnTheDisk) {
  ASSERT_TRUE(create(queue()).ok());
  ASSERT_TRUE(push("a").ok());
  Getter getter;
  begin_take(getter);
  bool is_drained = false;
  control->begin_drain([&] { is_drained = true; });  // the take is at the store by now
  EXPECT_TRUE(getter.done());
  until([&] {
    pass(Duration::milliseconds(20));
    return is_drained;
  });
  EXPECT_EQ(items(), 1);
}

TEST_F(SharedStatesTest, GoWithTheirOwnersHeartbeat) {
  ASSERT_TRUE(create(dict("passing"), R"(, "ephemeral": true)").ok());
  ASSERT_TRUE(create(dict()).ok());
  pass(Duration::seconds(20));
  ASSERT_TRUE(shared().heartbeat(dict("passing")).ok());
  pass(Duration::seconds(20));
  ASSERT_TRUE(shared().heartbeat(dict("passing")).ok());
  pass(Duration::seconds(30));
  until([&] { return !shared().heartbeat(dict("passing")).ok(); });
  pass(Duration::seconds(300));
  EXPECT_TRUE(shared().heartbeat(dict()).ok());
}

TEST_F(SharedStatesTest, GoAfterARestartThatTheirOwnerDidNotOutlive) {
  ASSERT_TRUE(create(queue("passing"), R"(, "ephemeral": true)").ok());
  close();
  open();
  EXPECT_TRUE(shared().heartbeat(queue("passing")).ok());
  pass(Duration::seconds(31));
  until([&] { return !shared().heartbeat(queue("passing")).ok(); });
}

TEST_F(SharedStatesTest, AnswerCodeInContainers) {
  must_deploy("docs", {function("slow")});
  Caller caller;
  must_start("docs", "slow", caller);
  until_running();
  FakeRunner& runner = *node.only().runner;
  std::uint64_t number = 0;
  const auto ask = [&](const std::string& head, const std::string& values = "") {
    std::string body(2, '\0');
    body[0] = static_cast<char>(head.size());
    runner.send(FrameType::shared, body + head + values, ++number);
  };
  const auto answer = [&]() -> FakeRunner::Frame& {
    until([&] { return !node.only().others.empty(); });
    static FakeRunner::Frame frame;
    frame = std::move(node.only().others.front());
    node.only().others.erase(node.only().others.begin());
    return frame;
  };
  ask(R"({"kind": "queue", "name": "jobs", "action": "create"})");
  EXPECT_EQ(answer().header.type, FrameType::call_result);
  ask(R"({"kind": "queue", "name": "jobs", "action": "take", "wait_ms": 60000})");
  ask(R"({"kind": "queue", "name": "jobs", "action": "put"})",
      "{\"items\": [{\"format\": \"pickle\", \"size_bytes\": 3}]}\nabc");
  std::map<std::uint64_t, std::string> told;
  for (int i = 0; i < 2; ++i) {
    const FakeRunner::Frame& frame = answer();
    EXPECT_EQ(frame.header.type, FrameType::call_result);
    told[frame.header.stream] = frame.body;
  }
  EXPECT_THAT(told[2], HasSubstr("\"more\":false}\nabc"));
  EXPECT_THAT(told[3], HasSubstr(R"("put":1)"));
  ask(R"({"kind": "queue", "name": "none", "action": "take"})");
  const FakeRunner::Frame& refused = answer();
  EXPECT_EQ(refused.header.type, FrameType::call_error);
  EXPECT_THAT(refused.body, HasSubstr("not_found"));
  ask(R"({"kind": "stack", "name": "none", "action": "take"})");
  EXPECT_EQ(answer().header.type, FrameType::call_error);
  // One that has left takes nothing.
  ask(R"({"kind": "queue", "name": "jobs", "action": "take", "wait_ms": 60000})");
  runner.send(FrameType::call_cancel, "", number);
  runner.send(FrameType::ping, "");
  for (int i = 0; i < 50; ++i) turn();
  ASSERT_TRUE(push("left over").ok());
  EXPECT_THAT(take(), ElementsAre("left over"));
}

TEST(SharedBatch, HasWhatItSays) {
  const std::string text = R"({"items": [{"key": "a", "format": "json", "size_bytes": 2},)"
                           R"( {"key": "b", "size_bytes": 0}]})"
                           "\n12";
  const auto items = parse_shared_batch(SharedKind::dict, text);
  ASSERT_TRUE(items.ok()) << items.error().message;
  ASSERT_EQ(items->size(), 2u);
  EXPECT_EQ((*items)[0].key, "a");
  EXPECT_EQ((*items)[0].value.format, BodyFormat::json);
  EXPECT_EQ((*items)[0].value.bytes, "12");
  EXPECT_EQ((*items)[1].value.format, BodyFormat::bytes);
  const std::string again = shared_batch(SharedKind::dict, {*items, true});
  EXPECT_THAT(again, HasSubstr(R"({"key":"a","format":"json","size_bytes":2})"));
  EXPECT_THAT(again, HasSubstr("\"more\":true}\n12"));
}

TEST(SharedBatch, IsRefusedWhereItIsNot) {
  for (const char* text :
       {"", "{}\n", "{\"items\": 1}\n", "[]\n", "{\"items\": []}", "{\"items\": []}\nx",
        "{\"items\": [{\"key\": \"a\", \"size_bytes\": 2}]}\n1",
        "{\"items\": [{\"key\": \"a\", \"size_bytes\": -1}]}\n",
        "{\"items\": [{\"key\": \"a\", \"size_bytes\": 9223372036854775807}]}\n1",
        "{\"items\": [{\"key\": \"a\", \"format\": \"xml\", \"size_bytes\": 1}]}\n1",
        "{\"items\": [{\"size_bytes\": 1}]}\n1", "{\"items\": [7]}\n"}) {
    const auto items = parse_shared_batch(SharedKind::dict, text);
    ASSERT_FALSE(items.ok()) << text;
    EXPECT_EQ(items.error().code, ErrorCode::invalid_argument) << text;
  }
}

}  // namespace
}  // namespace ember
