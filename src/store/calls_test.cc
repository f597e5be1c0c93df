// Calls that run whoever waits for them: on record until they are forgotten.
#include <gmock/gmock.h>

#include "store/store.h"
#include "store/store_fixture.h"

namespace ember {
namespace {

const std::string kBytes("\x80\x05\0\xff", 4);

CallRecord accepted(std::uint64_t id, std::string key = "") {
  return {.id = CallId{id},
          .workspace = kDefaultWorkspace,
          .caller = KeyId{7},
          .app = "docs",
          .function = "read",
          .variant = "va-1",
          .format = BodyFormat::pickle,
          .arguments = kBytes,
          .arrived = kNoon,
          .expires = Time::never(),
          .idempotency_key = std::move(key),
          .request_sha256 = "abc",
          .repeats = CallId{3}};
}

CallEndRecord ended(std::uint64_t id, std::string state, Time at = kNoon) {
  return {CallId{id}, at, std::move(state), BodyFormat::pickle, kBytes, R"({"total_us":5})"};
}

template <class Value, class Ask>
Result<Value> answer_of(Ask ask) {
  std::promise<Result<Value>> promise;
  ask([&](Result<Value> value) { promise.set_value(std::move(value)); });
  return promise.get_future().get();
}

Result<StoredCall> call(Store& store, std::uint64_t id) {
  return answer_of<StoredCall>([&](auto done) { store.query_call(CallId{id}, done); });
}

class StoredCalls : public testing::Test {
 protected:
  void SetUp() override { store_ = open_store(directory_.path(), snapshot_); }

  const TempDirectory directory_;
  Snapshot snapshot_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoredCalls, WithoutAnEndComeBackAfterReopeningOldestFirst) {
  ASSERT_TRUE(apply(*store_, {accepted(6), accepted(5), accepted(4), ended(4, "succeeded")}).ok());
  store_.reset();
  const Snapshot snapshot = reopened(directory_.path());
  ASSERT_EQ(snapshot.calls.size(), 2u);
  EXPECT_EQ(snapshot.calls[0].id, CallId{5});
  EXPECT_EQ(snapshot.calls[0].arguments, kBytes);
  EXPECT_EQ(snapshot.calls[0].format, BodyFormat::pickle);
  EXPECT_EQ(snapshot.calls[0].variant, "va-1");
  EXPECT_EQ(snapshot.calls[0].caller, KeyId{7});
  EXPECT_EQ(snapshot.calls[0].repeats, CallId{3});
}

TEST_F(StoredCalls, EndOnce) {
  ASSERT_TRUE(apply(*store_, {accepted(4)}).ok());
  EXPECT_FALSE(call(*store_, 4)->end);
  ASSERT_TRUE(apply(*store_, {ended(4, "succeeded"), ended(4, "failed")}).ok());
  const auto found = call(*store_, 4);
  ASSERT_TRUE(found.ok() && found->end);
  EXPECT_EQ(found->end->state, "succeeded");
  EXPECT_EQ(found->end->body, kBytes);
  EXPECT_EQ(found->end->report_json, R"({"total_us":5})");
}

TEST_F(StoredCalls, AreFoundByTheirIdempotencyKeyWhichOnlyOneCanHave) {
  ASSERT_TRUE(apply(*store_, {accepted(4, "pay-1"), accepted(5), accepted(6)}).ok());
  const auto by_key = [&](WorkspaceId workspace, std::string key) {
    return answer_of<StoredCall>(
        [&](auto done) { store_->query_call_by_key(workspace, key, done); });
  };
  EXPECT_EQ(by_key(kDefaultWorkspace, "pay-1")->call.id, CallId{4});
  EXPECT_EQ(by_key(WorkspaceId{2}, "pay-1").error().code, ErrorCode::not_found);
  EXPECT_EQ(by_key(kDefaultWorkspace, "").error().code, ErrorCode::not_found);
  EXPECT_EQ(apply(*store_, {accepted(7, "pay-1")}).error().code, ErrorCode::conflict);
}

TEST_F(StoredCalls, AreListedByHowTheyEndedNewestFirst) {
  ASSERT_TRUE(apply(*store_, {accepted(4), accepted(5), accepted(6), accepted(7),
                              ended(4, "failed"), ended(5, "timed_out"), ended(6, "succeeded")})
                  .ok());
  const auto listed = [&](CallQuery query) {
    std::vector<std::uint64_t> ids;
    auto found =
        answer_of<std::vector<StoredCall>>([&](auto done) { store_->query_calls(query, done); });
    for (const StoredCall& one : *found) ids.push_back(one.call.id.value);
    return ids;
  };
  EXPECT_THAT(listed({"", {"failed", "timed_out"}, 10}), testing::ElementsAre(5, 4));
  EXPECT_THAT(listed({"", {"failed", "timed_out"}, 1}), testing::ElementsAre(5));
  EXPECT_THAT(listed({"other", {"failed"}, 10}), testing::IsEmpty());
}

TEST_F(StoredCalls, AreForgottenOnceTheyHaveEndedLongAgo) {
  ASSERT_TRUE(apply(*store_, {accepted(4), accepted(5), accepted(6), ended(4, "failed"),
                              ended(5, "failed", kNoon + Duration::seconds(9))})
                  .ok());
  ASSERT_TRUE(apply(*store_, {ForgottenCalls{kNoon + Duration::seconds(5)}}).ok());
  EXPECT_EQ(call(*store_, 4).error().code, ErrorCode::not_found);
  EXPECT_TRUE(call(*store_, 5).ok());
  EXPECT_TRUE(call(*store_, 6).ok());
}

TEST_F(StoredCalls, AreFoundByTheCallsThatMadeThemOldestFirst) {
  CallRecord first = accepted(5), second = accepted(6), other = accepted(7);
  first.parent = second.parent = CallId{1};
  other.parent = CallId{2};
  ASSERT_TRUE(apply(*store_, {second, first, other, accepted(8), ended(6, "failed")}).ok());
  const auto children = [&](std::vector<CallId> parents, std::size_t limit) {
    const auto found = answer_of<std::vector<StoredCall>>(
        [&](auto done) { store_->query_children(parents, limit, done); });
    std::vector<std::uint64_t> ids;
    for (const StoredCall& one : *found) ids.push_back(one.call.id.value);
    return ids;
  };
  EXPECT_THAT(children({CallId{1}}, 10), testing::ElementsAre(5, 6));
  EXPECT_THAT(children({CallId{2}, CallId{1}, CallId{9}}, 10), testing::ElementsAre(5, 6, 7));
  EXPECT_THAT(children({CallId{1}}, 1), testing::ElementsAre(5));
  EXPECT_TRUE(children({CallId{}}, 10).empty());
  EXPECT_EQ(call(*store_, 5)->call.parent, CallId{1});
}

}  // namespace
}  // namespace ember
