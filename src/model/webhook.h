// Webhooks: where the end of a call is told, and when that is tried again. The rules are those of
// Standard Webhooks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "base/time.h"
#include "model/ids.h"
#include "model/ip_address.h"

namespace ember {

struct WebhookIdTag {
  static constexpr std::string_view kPrefix = "wh";
};
using WebhookId = Id<WebhookIdTag>;  // of the call that it tells of: its number is the call's

inline constexpr std::size_t kMaxWebhookUrl = 2048;

// A URL of http or https, taken apart.
struct WebhookUrl {
  bool is_tls = false;
  std::string host;  // lower case; an IPv6 address without its brackets
  std::uint16_t port = 0;
  std::string authority;  // as a Host field has it
  std::string target;     // path and query

  // All that share it are one receiver: "https://example.org:443".
  std::string origin() const;
};

// Refuses what different programs would take for different places, and ports that are other
// services' than the web's.
Result<WebhookUrl> parse_webhook_url(std::string_view text);
// Of one whose host is an address that is closed: why. A name's addresses are looked at when it is
// dialled.
Result<> check_webhook_host(const WebhookUrl& url, const std::vector<IpNetwork>& allowed);

enum class WebhookState : std::uint8_t { waiting, delivered, dead };
std::string_view webhook_state_name(WebhookState state);
std::optional<WebhookState> parse_webhook_state(std::string_view name);

// What a receiver said to one try; status 0: nothing.
struct WebhookAnswer {
  int status = 0;
  Duration retry_after = {};  // that it asked for; zero: none
};

// What is made of a try.
struct WebhookVerdict {
  WebhookState state = WebhookState::waiting;
  Time next = Time::never();  // waiting: when it is tried again
};

inline constexpr std::uint32_t kWebhookTries = 10;  // over three days

// After the try with that number, from 1, at `now`. Delays are up to a tenth longer by chance, so
// that what failed together does not come back together.
WebhookVerdict judge_webhook(std::uint32_t tried, const WebhookAnswer& answer, Time now,
                             Random& random);

}  // namespace ember
