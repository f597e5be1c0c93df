// Webhooks on disk: beside the ends of their calls, through any restart.
#include <gtest/gtest.h>

#include "store/store.h"
#include "store/store_fixture.h"

namespace ember {
namespace {

constexpr Duration kSecond = Duration::seconds(1);

WebhookRecord record(std::uint64_t id, const std::string& host = "a.org", Time at = kNoon) {
  return {.id = WebhookId{id},
          .workspace = kDefaultWorkspace,
          .url = "https://" + host + "/in",
          .origin = "https://" + host + ":443",
          .type = "call.succeeded",
          .body = "{\"id\": " + std::to_string(id) + "}",
          .created = at};
}

WebhookProgress progress(std::uint64_t id, WebhookState state, std::uint32_t tries,
                         Time next = Time::never()) {
  return {.id = WebhookId{id},
          .state = state,
          .tries = tries,
          .scheduled_from = 0,
          .next = next,
          .last_try = kNoon,
          .status = 500,
          .outcome = "it answered 500"};
}

class WebhooksTest : public testing::Test {
 protected:
  void open() { store_ = open_store(directory_.path(), snapshot_); }
  void SetUp() override { open(); }
  void reopen() {
    store_.reset();
    open();
  }
  void write(Batch batch) { ASSERT_TRUE(apply(*store_, std::move(batch)).ok()); }

  using Found = Result<std::vector<StoredWebhook>>;
  std::vector<StoredWebhook> waiting(std::vector<std::string> without = {},
                                     std::size_t limit = 10) {
    std::promise<Found> promise;
    store_->query_waiting_webhooks({std::move(without), limit},
                                   [&](Found found) { promise.set_value(std::move(found)); });
    return promise.get_future().get().value();
  }
  std::vector<StoredWebhook> listed(std::optional<WebhookState> state, std::size_t limit = 10) {
    std::promise<Found> promise;
    store_->query_webhooks({state, limit},
                           [&](Found found) { promise.set_value(std::move(found)); });
    return promise.get_future().get().value();
  }
  Result<StoredWebhook> one(std::uint64_t id) {
    std::promise<Result<StoredWebhook>> promise;
    store_->query_webhook(
        WebhookId{id}, [&](Result<StoredWebhook> found) { promise.set_value(std::move(found)); });
    return promise.get_future().get();
  }
  static std::vector<std::uint64_t> ids(const std::vector<StoredWebhook>& found) {
    std::vector<std::uint64_t> all;
    for (const StoredWebhook& stored : found) all.push_back(stored.webhook.id.value);
    return all;
  }
  using Ids = std::vector<std::uint64_t>;

  TempDirectory directory_;
  Snapshot snapshot_;
  std::unique_ptr<Store> store_;
};

TEST_F(WebhooksTest, AreAsTheyWereWrittenAfterARestart) {
  write({record(1)});
  write({progress(1, WebhookState::waiting, 2, kNoon + kSecond)});
  reopen();
  const auto found = one(1);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->webhook.url, "https://a.org/in");
  EXPECT_EQ(found->webhook.origin, "https://a.org:443");
  EXPECT_EQ(found->webhook.type, "call.succeeded");
  EXPECT_EQ(found->webhook.body, "{\"id\": 1}");
  EXPECT_EQ(found->webhook.created, kNoon);
  EXPECT_EQ(found->progress.tries, 2u);
  EXPECT_EQ(found->progress.next, kNoon + kSecond);
  EXPECT_EQ(found->progress.last_try, kNoon);
  EXPECT_EQ(found->progress.status, 500);
  EXPECT_EQ(found->progress.outcome, "it answered 500");
  EXPECT_EQ(one(2).error().code, ErrorCode::not_found);
}

TEST_F(WebhooksTest, WrittenTwiceAreOneAsItWasFirst) {
  write({record(1)});
  write({progress(1, WebhookState::delivered, 1)});
  write({record(1, "b.org")});
  EXPECT_EQ(one(1)->webhook.url, "https://a.org/in");
  EXPECT_EQ(one(1)->progress.state, WebhookState::delivered);
}

TEST_F(WebhooksTest, KeepTheWordAfterMoreTries) {
  write({record(1)});
  write({progress(1, WebhookState::delivered, 2)});
  write({progress(1, WebhookState::waiting, 1, kNoon)});
  EXPECT_EQ(one(1)->progress.state, WebhookState::delivered);
}

TEST_F(WebhooksTest, ThatWaitComeByWhenTheyAreDue) {
  write({record(1, "a.org", kNoon + kSecond), record(2, "b.org", kNoon), record(3), record(4)});
  write({progress(3, WebhookState::dead, 10)});
  write({progress(4, WebhookState::waiting, 1, kNoon + kSecond * 2)});
  EXPECT_EQ(ids(waiting()), (Ids{2, 1, 4}));
  EXPECT_EQ(ids(waiting({}, 2)), (Ids{2, 1}));
  EXPECT_EQ(ids(waiting({"https://b.org:443"})), (Ids{1, 4}));
  EXPECT_EQ(waiting().front().webhook.body, "{\"id\": 2}");
}

TEST_F(WebhooksTest, AreListedNewestFirstAndByState) {
  write({record(1), record(2), record(3)});
  write({progress(2, WebhookState::dead, 1)});
  EXPECT_EQ(ids(listed({})), (Ids{3, 2, 1}));
  EXPECT_EQ(ids(listed({}, 2)), (Ids{3, 2}));
  EXPECT_EQ(ids(listed(WebhookState::dead)), (Ids{2}));
  EXPECT_EQ(ids(listed(WebhookState::waiting)), (Ids{3, 1}));
}

TEST_F(WebhooksTest, AreForgottenWithTheCallsOfTheirTimeUnlessTheyWait) {
  write({record(1), record(2), record(3, "a.org", kNoon + kSecond * 9)});
  write({progress(1, WebhookState::delivered, 1), progress(3, WebhookState::delivered, 1)});
  write({ForgottenCalls{kNoon + kSecond}});
  EXPECT_EQ(ids(listed({})), (Ids{3, 2}));
}

TEST_F(WebhooksTest, AreSignedWithTheNewestKeyAndTheOneBefore) {
  const auto key = [](std::uint32_t version, Time until) {
    return WebhookSecretRecord{.workspace = kDefaultWorkspace,
                               .version = version,
                               .created = kNoon,
                               .until = until,
                               .sealed = "box " + std::to_string(version)};
  };
  write({key(1, Time::never())});
  write({key(1, kNoon), key(2, Time::never())});
  write({key(2, kNoon + kSecond), key(3, Time::never())});
  reopen();
  ASSERT_EQ(snapshot_.webhook_secrets.size(), 2u);
  EXPECT_EQ(snapshot_.webhook_secrets[0].version, 2u);
  EXPECT_EQ(snapshot_.webhook_secrets[0].until, kNoon + kSecond);
  EXPECT_EQ(snapshot_.webhook_secrets[1].version, 3u);
  EXPECT_EQ(snapshot_.webhook_secrets[1].until, Time::never());
  EXPECT_EQ(snapshot_.webhook_secrets[1].sealed, "box 3");
}

TEST_F(WebhooksTest, AndPrioritiesAreKeptWithTheirCalls) {
  CallRecord call{.id = CallId{7},
                  .workspace = kDefaultWorkspace,
                  .caller = {},
                  .app = "docs",
                  .function = "read",
                  .variant = {},
                  .arguments = "{}",
                  .arrived = kNoon,
                  .idempotency_key = {},
                  .request_sha256 = {},
                  .repeats = {},
                  .priority = {-10},
                  .webhook = "https://a.org/in"};
  write({call});
  reopen();
  ASSERT_EQ(snapshot_.calls.size(), 1u);
  EXPECT_EQ(snapshot_.calls[0].priority.value, -10);
  EXPECT_EQ(snapshot_.calls[0].webhook, "https://a.org/in");
  EXPECT_EQ(snapshot_.calls[0].arguments, "{}");
}

}  // namespace
}  // namespace ember
