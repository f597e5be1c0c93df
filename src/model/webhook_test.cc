// Where webhooks may go, and when they are tried.
#include "model/webhook.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

constexpr Time kNow{1'764'072'000'000'000};

TEST(WebhookUrl, IsTakenApart) {
  const auto url = parse_webhook_url("HTTPS://Hooks.Example.org/in?a=1&b=%20");
  ASSERT_TRUE(url.ok());
  EXPECT_TRUE(url->is_tls);
  EXPECT_EQ(url->host, "hooks.example.org");
  EXPECT_EQ(url->port, 443);
  EXPECT_EQ(url->authority, "hooks.example.org");
  EXPECT_EQ(url->target, "/in?a=1&b=%20");
  EXPECT_EQ(url->origin(), "https://hooks.example.org:443");
}

TEST(WebhookUrl, MayHaveAPortAnAddressAndNoPath) {
  const auto v6 = parse_webhook_url("http://[2606:4700::1]:8080?x");
  ASSERT_TRUE(v6.ok());
  EXPECT_EQ(v6->host, "2606:4700::1");
  EXPECT_EQ(v6->port, 8080);
  EXPECT_EQ(v6->authority, "[2606:4700::1]:8080");
  EXPECT_EQ(v6->target, "/?x");
  EXPECT_EQ(v6->origin(), "http://[2606:4700::1]:8080");
  EXPECT_EQ(parse_webhook_url("http://example.org")->origin(), "http://example.org:80");
}

TEST(WebhookUrl, IsRefusedWhereProgramsDifferOverIt) {
  for (const char* text : {"",
                           "http",
                           "http:",
                           "http://",
                           "http:///path",
                           "ftp://example.org",
                           "example.org/in",
                           "file:///etc/passwd",
                           "gopher://example.org",
                           "http://0/",
                           "http://127.1/",
                           "http://0177.0.0.1/",
                           "http://0x7f.0.0.1/",
                           "http://0x7f000001/",
                           "http://2130706433/",
                           "http://1.2.3.4.5/",
                           "http://127.0.0.1./",
                           "http://[fe80::1%25eth0]/",
                           "http://[::1",
                           "http://[127.0.0.1]/",
                           "http://printer.local/",
                           "http://printer.local./",
                           "http://local/",
                           "http://me:secret@example.org/",
                           "http://example.org@127.0.0.1/",
                           "http://a b/",
                           "http://example.org\\@127.0.0.1/",
                           "http://example.org/\r\nX: y",
                           "http://example.org/#top",
                           "http://example..org/",
                           "http://.example.org/",
                           "http://ex\xc3\xa4mple.org/",
                           "http://example.org:0/",
                           "http://example.org:65536/",
                           "http://example.org:x/",
                           "http://example.org:/",
                           "http://example.org:25/",
                           "http://example.org:22/",
                           "http://exa%6dple.org/"}) {
    EXPECT_FALSE(parse_webhook_url(text).ok()) << text;
  }
  EXPECT_FALSE(parse_webhook_url("http://example.org/" + std::string(kMaxWebhookUrl, 'a')).ok());
}

TEST(WebhookUrl, OfAnAddressThatIsClosedIsRefusedAtOnce) {
  const auto check = [](const char* text, std::vector<IpNetwork> allowed = {}) {
    return check_webhook_host(*parse_webhook_url(text), allowed);
  };
  EXPECT_TRUE(check("http://1.1.1.1/").ok());
  EXPECT_TRUE(check("http://example.org/").ok());
  const auto refused = check("http://169.254.169.254/latest/meta-data");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(refused.error().message,
            "webhook: 169.254.169.254 is a link-local address, and webhooks go to the public "
            "internet alone; open it by `ember up --webhooks-allow 169.254.169.254`");
  EXPECT_FALSE(check("http://[::1]:9000/").ok());
  EXPECT_FALSE(check("http://[::ffff:127.0.0.1]/", {*parse_ip_network("127.0.0.0/8")}).ok());
  EXPECT_TRUE(check("http://127.0.0.1:9000/", {*parse_ip_network("127.0.0.0/8")}).ok());
}

TEST(Webhook, IsTriedTenTimesOverThreeDays) {
  Random random(3);
  constexpr std::int64_t kSeconds[] = {5, 300, 1800, 7200, 18'000, 36000, 50400, 72000, 86400};
  Time now = kNow;
  for (std::uint32_t tried = 1; tried < kWebhookTries; ++tried) {
    const WebhookVerdict verdict = judge_webhook(tried, {500}, now, random);
    EXPECT_EQ(verdict.state, WebhookState::waiting);
    const Duration delay = verdict.next - now;
    const Duration planned = Duration::seconds(kSeconds[tried - 1]);
    EXPECT_GE(delay, planned) << tried;
    EXPECT_LE(delay.us, planned.us + planned.us / 10) << tried;
    now = verdict.next;
  }
  EXPECT_GE(now - kNow, Duration::seconds(75 * 3600 + 35 * 60 + 5));
  EXPECT_EQ(judge_webhook(kWebhookTries, {500}, now, random).state, WebhookState::dead);
}

TEST(Webhook, IsDeliveredByAnyAnswerOfSuccess) {
  Random random(3);
  for (const int status : {200, 201, 204, 299}) {
    EXPECT_EQ(judge_webhook(1, {status}, kNow, random).state, WebhookState::delivered);
  }
  for (const int status : {0, 100, 301, 302, 400, 401, 404, 429, 500, 503}) {
    EXPECT_EQ(judge_webhook(1, {status}, kNow, random).state, WebhookState::waiting) << status;
  }
  EXPECT_EQ(judge_webhook(kWebhookTries, {204}, kNow, random).state, WebhookState::delivered);
}

TEST(Webhook, IsDeadAtOnceWhereNobodyWantsItAnyMore) {
  Random random(3);
  EXPECT_EQ(judge_webhook(1, {410}, kNow, random).state, WebhookState::dead);
}

TEST(Webhook, WaitsAsLongAsItIsAskedToUpToADay) {
  Random random(3);
  const auto delay = [&](std::uint32_t tried, std::int64_t asked_s) {
    const WebhookAnswer answer{503, Duration::seconds(asked_s)};
    return (judge_webhook(tried, answer, kNow, random).next - kNow).us / 1'000'000;
  };
  EXPECT_EQ(delay(1, 120), 120);
  EXPECT_GE(delay(2, 120), 300);
  EXPECT_EQ(delay(1, 1'000'000), 24 * 3600);
}

}  // namespace
}  // namespace ember
