// Webhooks as the gateway sees them. All of it runs on the loop's thread; `done` once on it,
// possibly before the call returns.
#pragma once

#include <optional>
#include <string>

#include "control/async_calls.h"
#include "model/webhook.h"

namespace ember {

// For /metrics: since this server started, but for those that wait now.
struct WebhookCounts {
  std::uint64_t delivered = 0, dead = 0;
  std::uint64_t failed_tries = 0;
  std::int64_t waiting = 0;
};

class WebhookService {
 public:
  using Done = AsyncCalls::Done;

  virtual ~WebhookService() = default;
  // The newest ones, of that state if it is named.
  virtual void list(std::optional<WebhookState> state, std::size_t limit, Done done) = 0;
  virtual void show(WebhookId webhook, Done done) = 0;
  // Again from the first try, with the same id.
  virtual void replay(WebhookId webhook, Done done) = 0;
  // The key that receivers verify signatures with; made if there is none yet.
  virtual void secret(Done done) = 0;
  // A new one; the one before it signs beside it for so long.
  virtual void rotate_secret(Duration overlap, Done done) = 0;
  virtual WebhookCounts counts() const = 0;
};

}  // namespace ember
