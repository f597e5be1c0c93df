// Webhooks for the gateway's tests: remembers what was asked.
#pragma once

#include <string>
#include <vector>

#include "control/webhook_service.h"

namespace ember {

class FakeWebhooks final : public WebhookService {
 public:
  std::vector<std::string> asked;  // "replay wh-..."

  void list(std::optional<WebhookState> state, std::size_t limit, Done done) override {
    asked.push_back("list " + std::string(state ? webhook_state_name(*state) : "all") + " " +
                    std::to_string(limit));
    done(std::string(R"({"webhooks": []})"));
  }
  void show(WebhookId webhook, Done done) override {
    done(Error{ErrorCode::not_found, "no webhook " + webhook.text() + " is on record"});
  }
  void replay(WebhookId webhook, Done done) override {
    asked.push_back("replay " + webhook.text());
    done(std::string(R"({"state": "waiting"})"));
  }
  void secret(Done done) override { done(std::string(R"({"secret": "whsec_"})")); }
  void rotate_secret(Duration overlap, Done done) override {
    asked.push_back("rotate " + std::to_string(overlap.us / 1'000'000) + " s");
    done(std::string(R"({"secret": "whsec_"})"));
  }
  WebhookCounts counts() const override { return {2, 1, 5, 3}; }
};

}  // namespace ember
