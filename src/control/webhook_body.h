// What a webhook tells of a call's end, in the shape that Standard Webhooks has for it.
#pragma once

#include <string>
#include <string_view>

#include "control/async_calls.h"
#include "store/store.h"

namespace ember {

// A larger result is left out, and fetched by the URL.
inline constexpr std::size_t kMaxWebhookResult = 16u << 10;

// Of whom the call is, and who wants to know of its end.
struct WebhookTarget {
  std::string url;
  std::string app, function;
};

std::string webhook_type(const CallEndRecord& end);  // "call.succeeded"
// `server`: the URL that calls are asked for at, without a final slash.
std::string webhook_body(const WebhookTarget& target, const CallEndRecord& end,
                         const CallOutcome& outcome, std::string_view server);

}  // namespace ember
