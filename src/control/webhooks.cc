#include "control/webhooks.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "control/json.h"

namespace ember {
namespace {

constexpr std::size_t kMostSending = 64;
constexpr std::size_t kMostToOneOrigin = 8;
static_assert(kMostSending / kMostToOneOrigin <= kMostOriginsLeftOut);
constexpr std::size_t kMostListed = 1000;
constexpr Duration kRetry = Duration::seconds(1);  // of a store that cannot answer now
constexpr Duration kKeyRetry = Duration::seconds(60);
constexpr Duration kLongestSleep = Duration::seconds(60);  // the machine's clock may be set
constexpr Duration kLastWords = Duration::seconds(2);
constexpr Duration kLongestOverlap = Duration::seconds(7 * 24 * 3600);

std::string headers_of(WebhookId webhook, Time at, const std::string& signatures) {
  std::string lines = "webhook-id: " + webhook.text();
  lines += "\r\nwebhook-timestamp: " + std::to_string(at.us / 1'000'000);
  lines += "\r\nwebhook-signature: " + signatures + "\r\n";
  return lines;
}

std::string outcome_of(const Result<WebhookReply>& reply) {
  if (!reply) return reply.error().message;
  std::string text = "it answered " + std::to_string(reply->answer.status);
  const bool is_redirect = reply->answer.status >= 300 && reply->answer.status < 400;
  if (is_redirect) return text + ", and redirects are not followed";
  return reply->text.empty() ? text : text + ": " + reply->text;
}

JsonValue ms_or_null(Time time) {
  return time == Time{} || time == Time::never() ? JsonValue() : JsonValue(time.whole_ms());
}

JsonValue entry_of(const StoredWebhook& stored) {
  const WebhookRecord& webhook = stored.webhook;
  const WebhookProgress& progress = stored.progress;
  const bool waits = progress.state == WebhookState::waiting;
  return {{"webhook_id", webhook.id.text()},
          {"call_id", CallId{webhook.id.value}.text()},
          {"type", webhook.type},
          {"url", webhook.url},
          {"state", webhook_state_name(progress.state)},
          {"created_ms", webhook.created.whole_ms()},
          {"tries", progress.tries},
          {"next_try_ms", waits ? ms_or_null(progress.next) : JsonValue()},
          {"last_try_ms", ms_or_null(progress.last_try)},
          {"status", progress.status == 0 ? JsonValue() : JsonValue(progress.status)},
          {"outcome", progress.outcome}};
}

}  // namespace

Webhooks::Webhooks(EngineDriver& driver, Store& store, Background& background, WebhookKeys& keys,
                   WebhookSender& sender, std::vector<IpNetwork> allowed)
    : driver_(driver),
      store_(store),
      background_(background),
      keys_(keys),
      sender_(sender),
      allowed_(std::move(allowed)),
      random_(static_cast<std::uint64_t>(driver.now().us)) {}

void Webhooks::stop() {
  stopped_ = true;
  stopped_at_ = driver_.now();
}

bool Webhooks::is_settled() const {
  if (sending_.empty()) return true;
  const bool writes =
      std::ranges::any_of(sending_, [](const auto& one) { return one.second.is_over; });
  return !writes && driver_.now() - stopped_at_ > kLastWords;
}

Result<> Webhooks::check(const std::string& url) {
  const auto parsed = parse_webhook_url(url);
  if (!parsed) return parsed.error();
  if (auto open = check_webhook_host(*parsed, allowed_); !open) return open;
  return keys_.prepare();
}

WebhookRecord Webhooks::record_of(const WebhookTarget& target, const CallEndRecord& end,
                                  const CallOutcome& outcome) const {
  const auto url = parse_webhook_url(target.url);
  return {.id = WebhookId{end.id.value},
          .workspace = kDefaultWorkspace,
          .url = target.url,
          .origin = url ? url->origin() : target.url,
          .type = webhook_type(end),
          .body = webhook_body(target, end, outcome, url_),
          .created = end.ended};
}

// --- what is sent, and when ---

std::size_t Webhooks::sending_to(const std::string& origin) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      sending_, [&](const auto& one) { return one.second.origin == origin; }));
}

std::vector<std::string> Webhooks::full_origins() const {
  std::vector<std::string> full;
  for (const auto& [id, sending] : sending_) {
    if (std::ranges::count(full, sending.origin) > 0) continue;
    if (sending_to(sending.origin) >= kMostToOneOrigin) full.push_back(sending.origin);
  }
  return full;
}

void Webhooks::look() {
  if (stopped_ || sending_.size() >= kMostSending) return;
  if (asking_) {
    again_ = true;
    return;
  }
  asking_ = true;
  // Those that are being sent are still due in the store, and come first.
  store_.query_waiting_webhooks(
      {full_origins(), sending_.size() + kMostSending},
      background_.to_loop([this](Result<std::vector<StoredWebhook>> waiting) {
        asking_ = false;
        found(std::move(waiting));
      }));
}

void Webhooks::found(Result<std::vector<StoredWebhook>> waiting) {
  if (stopped_) return;
  const Time now = driver_.now();
  if (!waiting) {
    spdlog::error("webhooks: {}", waiting.error().message);
    return look_at(now + kRetry);
  }
  bool has_filled_one = false;
  for (const StoredWebhook& stored : *waiting) {
    if (sending_.contains(stored.webhook.id)) continue;
    if (stored.progress.next > now) {
      look_at(stored.progress.next);
      break;
    }
    if (sending_.size() >= kMostSending) break;
    if (sending_to(stored.webhook.origin) >= kMostToOneOrigin) {
      has_filled_one = true;
      continue;
    }
    if (auto ready = keys_.prepare(); !ready) {
      spdlog::error("{}", ready.error().message);
      return look_at(now + kKeyRetry);
    }
    send(stored);
  }
  // Others may be due behind those of a receiver that has all its places now.
  if (std::exchange(again_, false) || has_filled_one) look();
}

void Webhooks::look_at(Time when) {
  const Time now = driver_.now();
  when = std::clamp(when, now, now + kLongestSleep);
  if (planned_ <= when && planned_ > now) return;
  planned_ = when;
  driver_.after(when - now, [this, when] {
    if (planned_ != when) return;
    planned_ = Time::never();
    look();
  });
}

void Webhooks::send(const StoredWebhook& stored) {
  const WebhookRecord& webhook = stored.webhook;
  Sending& sending = sending_[webhook.id];
  sending.origin = webhook.origin;
  sending.progress = stored.progress;
  const auto url = parse_webhook_url(webhook.url);
  const Time now = driver_.now();
  auto done = [this, id = webhook.id](Result<WebhookReply> reply) { tried(id, std::move(reply)); };
  if (!url) {
    background_.later([done = std::move(done), error = url.error()] { done(error); });
    return;
  }
  const std::string signatures = keys_.signatures(webhook.id.text(), now, webhook.body);
  sender_.post({*url, headers_of(webhook.id, now, signatures), webhook.body}, std::move(done));
}

void Webhooks::tried(WebhookId webhook, Result<WebhookReply> reply) {
  const auto found = sending_.find(webhook);
  if (found == sending_.end()) return;
  WebhookProgress& progress = found->second.progress;
  const WebhookAnswer answer = reply ? reply->answer : WebhookAnswer{};
  const std::uint32_t tries = ++progress.tries - progress.scheduled_from;
  const WebhookVerdict verdict = judge_webhook(tries, answer, driver_.now(), random_);
  progress.state = verdict.state;
  progress.next = verdict.next;
  progress.last_try = driver_.now();
  progress.status = answer.status;
  progress.outcome = outcome_of(reply);
  found->second.is_over = true;
  write(webhook);
}

void Webhooks::write(WebhookId webhook) {
  store_.apply(
      {sending_.at(webhook).progress},
      background_.to_loop([this, webhook](const Result<>& result) { written(webhook, result); }));
}

// Until then it keeps its place: what is not on disk would be sent again.
void Webhooks::written(WebhookId webhook, const Result<>& result) {
  if (!result) {
    spdlog::error("how far {} has come cannot be written: {}", webhook.text(),
                  result.error().message);
    return driver_.after(kRetry, [this, webhook] { write(webhook); });
  }
  const WebhookProgress progress = sending_.at(webhook).progress;
  sending_.erase(webhook);
  count(progress);
  look();
}

void Webhooks::count(const WebhookProgress& progress) {
  const bool is_over = progress.state != WebhookState::waiting;
  counts_.waiting -= is_over;
  counts_.delivered += progress.state == WebhookState::delivered;
  counts_.dead += progress.state == WebhookState::dead;
  counts_.failed_tries += progress.state != WebhookState::delivered;
}

// --- what people ask for ---

void Webhooks::list(std::optional<WebhookState> state, std::size_t limit, Done done) {
  auto listed = [done = std::move(done)](Result<std::vector<StoredWebhook>> found) {
    if (!found) return done(std::move(found).error());
    JsonValue list = JsonValue::array();
    for (const StoredWebhook& one : *found) list.push_back(entry_of(one));
    done(dump_json({{"webhooks", std::move(list)}}));
  };
  store_.query_webhooks({state, std::min(limit, kMostListed)},
                        background_.to_loop(std::move(listed)));
}

void Webhooks::show(WebhookId webhook, Done done) {
  store_.query_webhook(webhook,
                       background_.to_loop([done = std::move(done)](Result<StoredWebhook> found) {
                         if (!found) return done(std::move(found).error());
                         JsonValue document = entry_of(*found);
                         document["body"] = found->webhook.body;
                         done(dump_json(document));
                       }));
}

void Webhooks::replay(WebhookId webhook, Done done) {
  if (sending_.contains(webhook)) {
    return done(Error{ErrorCode::conflict, webhook.text() + " is being sent just now"});
  }
  auto looked_up = [this, done = std::move(done)](Result<StoredWebhook> found) mutable {
    if (!found) return done(std::move(found).error());
    WebhookProgress& progress = found->progress;
    const bool was_over = progress.state != WebhookState::waiting;
    progress.state = WebhookState::waiting;
    progress.scheduled_from = progress.tries;
    progress.next = driver_.now();
    auto replayed = [this, was_over, stored = *found, done = std::move(done)](Result<> result) {
      if (!result) return done(std::move(result).error());
      counts_.waiting += was_over;
      look();
      done(dump_json(entry_of(stored)));
    };
    store_.apply({progress}, background_.to_loop(std::move(replayed)));
  };
  store_.query_webhook(webhook, background_.to_loop(std::move(looked_up)));
}

void Webhooks::rotate_secret(Duration overlap, Done done) {
  if (overlap < Duration{} || overlap > kLongestOverlap) {
    return done(Error{ErrorCode::invalid_argument, "overlap_s must be 0 to 604800: a week"});
  }
  keys_.rotate(overlap, std::move(done));
}

}  // namespace ember
