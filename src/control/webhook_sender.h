// What webhooks need of the network: one request to one receiver. Implemented by the gateway,
// joined in app.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "model/webhook.h"

namespace ember {

struct WebhookPost {
  WebhookUrl url;
  std::string headers;  // lines, each with its CRLF
  std::string body;     // JSON
};

struct WebhookReply {
  WebhookAnswer answer;
  std::string text;  // the beginning of its body, for people
};

class WebhookSender {
 public:
  virtual ~WebhookSender() = default;
  // Answered once, on the loop's thread and not before this returns: with what the receiver said,
  // whatever that is, or why it could not be asked. It takes a bounded time, and connects to no
  // address that is closed.
  virtual void post(WebhookPost post, std::function<void(Result<WebhookReply>)> done) = 0;
};

}  // namespace ember
