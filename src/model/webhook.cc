#include "model/webhook.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace ember {
namespace {

constexpr std::size_t kMaxHostBytes = 253;
constexpr int kFirstFreePort = 1024;
constexpr int kGone = 410;
constexpr Duration kLongestRetryAfter = Duration::seconds(24 * 3600);

constexpr Duration hours(std::int64_t n) { return Duration::seconds(n * 3600); }

// Between one try and the next.
constexpr std::array<Duration, kWebhookTries - 1> kDelays{Duration::seconds(5),
                                                          Duration::seconds(300),
                                                          Duration::seconds(1800),
                                                          hours(2),
                                                          hours(5),
                                                          hours(10),
                                                          hours(14),
                                                          hours(20),
                                                          hours(24)};

Error bad_url(std::string_view why) {
  return {ErrorCode::invalid_argument, "webhook: " + std::string(why)};
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) { return lower(c); });
  return result;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_url_character(char c) {
  return c > ' ' && c < 0x7f && std::string_view("\"<>\\^`{|}").find(c) == std::string_view::npos;
}

bool is_name_character(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_';
}

// Programs differ over what "0177.1" or "0x7f000001" is; where the last label begins with a digit
// it is an address or nothing.
bool looks_like_an_address(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  const std::string_view last = host.substr(host.rfind('.') + 1);
  return !last.empty() && is_digit(last.front());
}

bool is_local_name(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  return host == "local" || host.ends_with(".local");
}

Result<> check_name(std::string_view host) {
  if (host.empty() || host.size() > kMaxHostBytes) return bad_url("the URL has no host");
  if (!std::ranges::all_of(host, is_name_character) || host.starts_with('.') ||
      host.find("..") != std::string_view::npos) {
    return bad_url("the URL's host is no name; write it in ASCII (xn--...)");
  }
  if (looks_like_an_address(host) && !parse_ip_address(host)) {
    return bad_url("the URL's host is no address: write it as four decimal numbers");
  }
  if (is_local_name(host)) return bad_url("names in .local are of no public machine");
  return Ok{};
}

// The brackets around an IPv6 address come off.
Result<> take_bracketed_host(std::string_view& authority, std::string& host) {
  const auto end = authority.find(']');
  if (end == std::string_view::npos) return bad_url("the URL's host is cut off");
  host = lower(authority.substr(1, end - 1));
  const auto address = parse_ip_address(host);
  if (!address || address->family != IpAddress::Family::v6) {
    return bad_url("the URL's host is no IPv6 address without a zone");
  }
  authority.remove_prefix(end + 1);
  return Ok{};
}

Result<> take_host(std::string_view& authority, std::string& host) {
  if (authority.starts_with('[')) return take_bracketed_host(authority, host);
  const auto colon = std::min(authority.find(':'), authority.size());
  host = lower(authority.substr(0, colon));
  authority.remove_prefix(colon);
  return check_name(host);
}

// What is left of an authority behind its host.
Result<std::uint16_t> port_of(std::string_view rest, bool is_tls) {
  const std::uint16_t usual = is_tls ? 443 : 80;
  if (rest.empty()) return usual;
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), port);
  if (rest.front() != ':' || error != std::errc() || end != rest.data() + rest.size() ||
      port == 0) {
    return bad_url("the URL's port is no number from 1 to 65535");
  }
  if (port < kFirstFreePort && port != 80 && port != 443) {
    return bad_url("the URL's port is another service's; take 443, 80, or one from 1024 up");
  }
  return port;
}

}  // namespace

std::string WebhookUrl::origin() const {
  std::string text = is_tls ? "https://" : "http://";
  const bool is_v6 = host.find(':') != std::string::npos;
  text += is_v6 ? "[" + host + "]" : host;
  return text + ":" + std::to_string(port);
}

Result<WebhookUrl> parse_webhook_url(std::string_view text) {
  if (text.size() > kMaxWebhookUrl) return bad_url("the URL is over 2048 bytes");
  if (!std::ranges::all_of(text, is_url_character)) {
    return bad_url("the URL has characters that no URL has");
  }
  const auto scheme_end = text.find("://");
  const std::string scheme = lower(text.substr(0, std::min(scheme_end, text.size())));
  if (scheme_end == std::string_view::npos || (scheme != "http" && scheme != "https")) {
    return bad_url("the URL must begin with https:// or http://");
  }
  WebhookUrl url;
  url.is_tls = scheme == "https";
  std::string_view rest = text.substr(scheme_end + 3);
  const auto path = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, path);
  url.target = rest.substr(path);
  if (url.target.find('#') != std::string::npos) return bad_url("the URL has a fragment");
  if (!url.target.starts_with('/')) url.target.insert(0, 1, '/');
  if (authority.find('@') != std::string_view::npos) {
    return bad_url("a URL with a user or password is shown in listings; leave them out");
  }
  url.authority = lower(authority);
  if (auto taken = take_host(authority, url.host); !taken) return std::move(taken).error();
  const auto port = port_of(authority, url.is_tls);
  if (!port) return port.error();
  url.port = *port;
  return url;
}

Result<> check_webhook_host(const WebhookUrl& url, const std::vector<IpNetwork>& allowed) {
  const auto address = parse_ip_address(url.host);
  if (!address) return Ok{};
  const std::string_view range = closed_range_of(*address, allowed);
  if (range.empty()) return Ok{};
  return {ErrorCode::invalid_argument,
          "webhook: " + url.host + " is " + std::string(range) +
              ", and webhooks go to the public internet alone; open it by `ember up "
              "--webhooks-allow " +
              url.host + "`"};
}

std::string_view webhook_state_name(WebhookState state) {
  switch (state) {
    case WebhookState::waiting:
      return "waiting";
    case WebhookState::delivered:
      return "delivered";
    case WebhookState::dead:
      return "dead";
  }
  return "";
}

std::optional<WebhookState> parse_webhook_state(std::string_view name) {
  for (const WebhookState state :
       {WebhookState::waiting, WebhookState::delivered, WebhookState::dead}) {
    if (webhook_state_name(state) == name) return state;
  }
  return std::nullopt;
}

WebhookVerdict judge_webhook(std::uint32_t tried, const WebhookAnswer& answer, Time now,
                             Random& random) {
  if (answer.status >= 200 && answer.status < 300) return {WebhookState::delivered, Time::never()};
  if (answer.status == kGone || tried >= kWebhookTries) return {WebhookState::dead, Time::never()};
  const Duration planned = kDelays[std::max(tried, 1u) - 1];
  const Duration asked = std::min(answer.retry_after, kLongestRetryAfter);
  return {WebhookState::waiting,
          now + std::max(planned, asked) + Duration{random.between(0, planned.us / 10)}};
}

}  // namespace ember
