// What the store keeps of dictionaries and queues.
#include <algorithm>
#include <atomic>

#include "store/store_fixture.h"

namespace ember {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr SharedId kThing{5};
constexpr Time kLater = kNoon + Duration::seconds(60);

class SharedStoreTest : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void open() {
    store.reset();
    store = open_store(directory.path(), snapshot);
  }
  void make(SharedKind kind, SharedId id = kThing, const std::string& name = "things") {
    ASSERT_TRUE(change(SharedRecord{id, kDefaultWorkspace, kind, name, false, kNoon}).ok());
  }

  Result<SharedAnswer> change(SharedChange wanted) {
    std::promise<Result<SharedAnswer>> promise;
    store->shared().change(std::move(wanted), [&](Result<SharedAnswer> answer) {
      promise.set_value(std::move(answer));
    });
    return promise.get_future().get();
  }
  SharedAnswer must(SharedChange wanted) {
    auto answer = change(std::move(wanted));
    EXPECT_TRUE(answer.ok()) << (answer.ok() ? "" : answer.error().message);
    return answer.ok() ? std::move(answer).value() : SharedAnswer{};
  }
  SharedAnswer look(SharedQuery query) {
    std::promise<Result<SharedAnswer>> promise;
    store->shared().look(std::move(query), [&](Result<SharedAnswer> answer) {
      promise.set_value(std::move(answer));
    });
    auto answer = promise.get_future().get();
    EXPECT_TRUE(answer.ok()) << (answer.ok() ? "" : answer.error().message);
    return answer.ok() ? std::move(answer).value() : SharedAnswer{};
  }

  std::int64_t put(const std::string& key, const std::string& value,
                   WhenThere when_there = WhenThere::replace) {
    return must(DictPut{kThing, {{key, 0, 0, {BodyFormat::pickle, value}}}, when_there}).count;
  }
  std::vector<std::string> value_of(const std::string& key) {
    return bytes(look(DictLook{kThing, key}));
  }
  std::int64_t entries(SharedId id = kThing, Time now = kNoon) {
    std::int64_t sum = 0;
    for (const SharedCount& count : look(SharedCounts{.id = id, .now = now}).counts) {
      sum += count.entries;
    }
    return sum;
  }

  Result<SharedAnswer> push(std::vector<std::string> items, const std::string& partition = "",
                            Time now = kNoon, Time expires = kLater) {
    QueuePut put{kThing, partition, {}, now, expires};
    for (std::string& item : items) put.items.push_back({BodyFormat::bytes, std::move(item)});
    return change(std::move(put));
  }
  SharedAnswer take(std::int64_t most = 1, const std::string& partition = "", Time now = kNoon) {
    return must(QueueTake{kThing, partition, most, now});
  }

  static std::vector<std::string> bytes(const SharedAnswer& answer) {
    std::vector<std::string> all;
    for (const SharedItem& item : answer.items) all.push_back(item.value.bytes);
    return all;
  }
  static std::vector<std::string> keys(const SharedAnswer& answer) {
    std::vector<std::string> all;
    for (const SharedItem& item : answer.items) all.push_back(item.key);
    return all;
  }

  TempDirectory directory;
  Snapshot snapshot;
  std::unique_ptr<Store> store;
};

TEST_F(SharedStoreTest, KeepsEntriesOverARestart) {
  make(SharedKind::dict);
  EXPECT_EQ(put("a", "1"), 1);
  EXPECT_EQ(put("a", "22"), 1);
  EXPECT_EQ(put("b", std::string("\0\xff", 2)), 1);
  open();
  ASSERT_EQ(snapshot.shared.size(), 1u);
  EXPECT_EQ(snapshot.shared[0].name, "things");
  EXPECT_EQ(snapshot.shared[0].kind, SharedKind::dict);
  EXPECT_THAT(value_of("a"), ElementsAre("22"));
  EXPECT_THAT(value_of("b"), ElementsAre(std::string("\0\xff", 2)));
  EXPECT_THAT(value_of("c"), IsEmpty());
  const SharedAnswer counts = look(SharedCounts{.id = kThing, .now = kNoon});
  ASSERT_EQ(counts.counts.size(), 1u);
  EXPECT_EQ(counts.counts[0].entries, 2);
  EXPECT_EQ(counts.counts[0].bytes, 4);
}

TEST_F(SharedStoreTest, PutsOnlyOnceWhereWhatIsThereStays) {
  make(SharedKind::dict);
  EXPECT_EQ(put("lock", "mine", WhenThere::skip), 1);
  EXPECT_EQ(put("lock", "yours", WhenThere::skip), 0);
  EXPECT_THAT(value_of("lock"), ElementsAre("mine"));
}

TEST_F(SharedStoreTest, GivesAPoppedEntryOnce) {
  make(SharedKind::dict);
  put("a", "1");
  EXPECT_THAT(bytes(must(DictPop{kThing, "a"})), ElementsAre("1"));
  EXPECT_THAT(bytes(must(DictPop{kThing, "a"})), IsEmpty());
  EXPECT_EQ(entries(), 0);
}

TEST_F(SharedStoreTest, PagesThroughEntriesInTheOrderOfTheirKeys) {
  make(SharedKind::dict);
  for (const char* key : {"d", "a", "c", "b"}) put(key, std::string("v") + key);
  const SharedAnswer first = look(DictPage{.dict = kThing, .limit = 3});
  EXPECT_THAT(keys(first), ElementsAre("a", "b", "c"));
  EXPECT_THAT(bytes(first), ElementsAre("", "", ""));
  EXPECT_TRUE(first.has_more);
  const SharedAnswer rest =
      look(DictPage{.dict = kThing, .after = "c", .limit = 3, .values = Values::read});
  EXPECT_THAT(keys(rest), ElementsAre("d"));
  EXPECT_THAT(bytes(rest), ElementsAre("vd"));
  EXPECT_FALSE(rest.has_more);
}

TEST_F(SharedStoreTest, CutsAPageOfLargeValuesShort) {
  make(SharedKind::dict);
  for (const char* key : {"a", "b", "c"}) put(key, std::string(kMaxBytesAtOnce / 2 + 1, 'x'));
  const SharedAnswer page = look(DictPage{.dict = kThing, .values = Values::read});
  EXPECT_THAT(keys(page), ElementsAre("a"));
  EXPECT_TRUE(page.has_more);
  EXPECT_EQ(look(DictPage{.dict = kThing}).items.size(), 3u);
}

TEST_F(SharedStoreTest, ClearsAtOnceAndSweepsByAndBy) {
  make(SharedKind::dict);
  DictPut many{kThing, {}};
  for (int i = 0; i < 6'000; ++i) {
    many.entries.push_back({"k" + std::to_string(i), 0, 0, {BodyFormat::bytes, "v"}});
  }
  must(many);
  must(SharedClear{kThing});
  EXPECT_EQ(entries(), 0);
  EXPECT_THAT(keys(look(DictPage{.dict = kThing})), IsEmpty());
  put("new", "1");
  int sweeps = 0;
  while (must(SharedSweep{kNoon}).count > 0) ++sweeps;
  EXPECT_EQ(sweeps, 3);  // of 5,000, of the rest, of the shelf itself
  EXPECT_THAT(keys(look(DictPage{.dict = kThing})), ElementsAre("new"));
}

TEST_F(SharedStoreTest, GivesItemsInTheOrderInWhichTheyWerePut) {
  make(SharedKind::queue);
  EXPECT_EQ(push({"a", "b"})->count, 2);
  EXPECT_EQ(push({"c"})->count, 3);
  EXPECT_THAT(bytes(take()), ElementsAre("a"));
  open();
  EXPECT_THAT(bytes(take(10)), ElementsAre("b", "c"));
  EXPECT_THAT(bytes(take(10)), IsEmpty());
  EXPECT_EQ(entries(), 0);
}

TEST_F(SharedStoreTest, KeepsPartitionsApart) {
  make(SharedKind::queue);
  ASSERT_TRUE(push({"1", "2"}, "odd").ok());
  ASSERT_TRUE(push({"a"}, "even").ok());
  ASSERT_TRUE(push({"x"}).ok());
  EXPECT_THAT(bytes(take(10, "even")), ElementsAre("a"));
  const SharedAnswer counts = look(SharedCounts{.id = kThing, .now = kNoon});
  ASSERT_EQ(counts.counts.size(), 2u);
  EXPECT_EQ(counts.counts[0].partition, "");
  EXPECT_EQ(counts.counts[1].partition, "odd");
  EXPECT_EQ(counts.counts[1].entries, 2);
  must(SharedClear{kThing, "odd"});
  EXPECT_THAT(bytes(take(10, "odd")), IsEmpty());
  EXPECT_THAT(bytes(take(10)), ElementsAre("x"));
}

TEST_F(SharedStoreTest, PutsBackWhatReachedNobodyToWhereItWas) {
  make(SharedKind::queue);
  ASSERT_TRUE(push({"a", "b", "c"}).ok());
  const SharedAnswer taken = take(2);
  ASSERT_TRUE(push({"d"}).ok());
  must(QueueReturn{kThing, "", taken.items, taken.expires});
  EXPECT_THAT(bytes(take(10)), ElementsAre("a", "b", "c", "d"));
}

TEST_F(SharedStoreTest, LetsAPartitionGoSomeTimeAfterItsLastPut) {
  make(SharedKind::queue);
  ASSERT_TRUE(push({"a"}, "p", kNoon, kLater).ok());
  ASSERT_TRUE(push({"b"}, "p", kNoon, kLater + Duration::seconds(60)).ok());
  EXPECT_THAT(bytes(look(QueuePage{
                  .queue = kThing, .partition = "p", .values = Values::read, .now = kLater})),
              ElementsAre("a", "b"));
  EXPECT_THAT(bytes(take(1, "p", kLater)), ElementsAre("a"));
  const Time over = kLater + Duration::seconds(60);
  EXPECT_EQ(entries(kThing, over), 0);
  EXPECT_THAT(bytes(take(1, "p", over)), IsEmpty());
  ASSERT_TRUE(push({"c"}, "p", over, over + Duration::seconds(60)).ok());
  EXPECT_THAT(bytes(take(9, "p", over)), ElementsAre("c"));
  ASSERT_TRUE(push({"d"}, "q", over, over + Duration::seconds(60)).ok());
  while (must(SharedSweep{over + Duration::seconds(60)}).count > 0) continue;
  EXPECT_EQ(entries(kThing, over), 0);
}

TEST_F(SharedStoreTest, PutsAllOrNoneIntoAPartitionThatFills) {
  make(SharedKind::queue);
  const std::vector<std::string> many(kMaxItemsAtOnce, "x");
  for (std::int64_t i = 0; i < kMaxPartitionItems / kMaxItemsAtOnce; ++i) {
    ASSERT_TRUE(push(many).ok());
  }
  EXPECT_TRUE(push({"one more"})->is_full);
  EXPECT_FALSE(push({"elsewhere"}, "p")->is_full);
  take();
  EXPECT_TRUE(push({"two", "more"})->is_full);
  EXPECT_FALSE(push({"one more"})->is_full);
  EXPECT_EQ(look(SharedCounts{kThing, "", kNoon}).counts[0].entries, kMaxPartitionItems);
}

TEST_F(SharedStoreTest, TakesNoMoreBytesAtOnceThanItMay) {
  make(SharedKind::queue);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(push({std::string(1 << 20, 'x')}).ok());
  EXPECT_EQ(take(100).items.size(), 16u);
  EXPECT_EQ(take(100).items.size(), 4u);
}

TEST_F(SharedStoreTest, LimitsThePartitionsOfAQueue) {
  make(SharedKind::queue);
  for (std::int64_t i = 0; i < kMaxPartitions; ++i) {
    store->shared().change(
        QueuePut{kThing, "p" + std::to_string(i), {{BodyFormat::bytes, "x"}}, kNoon, kLater},
        [](const Result<SharedAnswer>& answer) { EXPECT_TRUE(answer.ok()); });
  }
  const auto refused = push({"x"}, "one more");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::resource_exhausted);
  EXPECT_TRUE(push({"x"}, "p7").ok());
}

TEST_F(SharedStoreTest, KeepsNothingOfWhatIsForgotten) {
  make(SharedKind::dict);
  put("a", "1");
  must(ForgottenShared{kThing});
  for (const SharedChange& wanted :
       {SharedChange(ForgottenShared{kThing}), SharedChange(SharedClear{kThing}),
        SharedChange(DictPut{kThing, {}}), SharedChange(DictPop{kThing, "a"}),
        SharedChange(QueueTake{kThing, "", 1, kNoon})}) {
    const auto refused = change(wanted);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::not_found);
  }
  make(SharedKind::dict, SharedId{6});
  EXPECT_EQ(entries(SharedId{6}), 0);
  EXPECT_THAT(value_of("a"), IsEmpty());
}

TEST_F(SharedStoreTest, RefusesASecondOfTheSameNameAndKind) {
  make(SharedKind::dict);
  make(SharedKind::queue, SharedId{6});
  const auto refused = change(
      SharedRecord{SharedId{7}, kDefaultWorkspace, SharedKind::dict, "things", false, kNoon});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_TRUE(
      change(SharedRecord{SharedId{7}, WorkspaceId{2}, SharedKind::dict, "things", false, kNoon})
          .ok());
  const SharedAnswer totals = look(SharedTotals{kDefaultWorkspace, SharedKind::dict, kNoon});
  ASSERT_EQ(totals.counts.size(), 1u);
  EXPECT_EQ(totals.counts[0].id, kThing);
}

TEST_F(SharedStoreTest, GivesEachItemToOneOfManyWhoTakeAtOnce) {
  make(SharedKind::queue);
  constexpr int kItems = 1000;
  std::vector<std::string> items;
  for (int i = 0; i < kItems; ++i) items.push_back(std::to_string(i));
  std::vector<std::string> got;
  std::atomic<int> answers = 0;
  for (int i = 0; i < kItems; ++i) {
    store->shared().change(QueuePut{kThing, "", {{BodyFormat::bytes, items[i]}}, kNoon, kLater},
                           [](const Result<SharedAnswer>& put) { EXPECT_TRUE(put.ok()); });
    store->shared().change(QueueTake{kThing, "", 1, kNoon}, [&](Result<SharedAnswer> answer) {
      for (std::string& one : bytes(*answer)) got.push_back(std::move(one));
      ++answers;
    });
  }
  store.reset();  // does what it was asked before
  EXPECT_EQ(answers, kItems);
  EXPECT_EQ(got, items);
}

}  // namespace
}  // namespace ember
