// Receivers of webhooks for tests of control: remembers what was sent, answers what it was told to.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "control/webhook_sender.h"

namespace ember {

class FakeWebhookSender final : public WebhookSender {
 public:
  struct Sent {
    WebhookPost post;
    std::function<void(Result<WebhookReply>)> done;

    // The value of a field of the request's head.
    std::string field(const std::string& name) const {
      const std::size_t start = post.headers.find(name + ": ") + name.size() + 2;
      return post.headers.substr(start, post.headers.find("\r\n", start) - start);
    }
    void answer(int status, Duration retry_after = {}) const {
      done(WebhookReply{{status, retry_after}, ""});
    }
  };

  void post(WebhookPost post, std::function<void(Result<WebhookReply>)> done) override {
    sent.push_back({std::move(post), std::move(done)});
  }

  std::vector<Sent> sent;  // all of them; tests answer
};

}  // namespace ember
