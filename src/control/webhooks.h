// Tells the ends of calls to the URLs that want to know of them.
//
// What is to be told is a row beside the end of its call, in one write; so are the tries that it
// took. Here there are only those that are being sent: the store is asked for the next ones, by
// when they are due. So a million that wait cost no memory, and a server that dies forgets nothing:
// what it was sending is sent again, with the same id. One receiver that hangs takes a few of the
// places, never all.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "control/background.h"
#include "control/engine_driver.h"
#include "control/webhook_body.h"
#include "control/webhook_keys.h"
#include "control/webhook_sender.h"
#include "control/webhook_service.h"
#include "store/store.h"

namespace ember {

class Webhooks final : public WebhookService {
 public:
  Webhooks(EngineDriver& driver, Store& store, Background& background, WebhookKeys& keys,
           WebhookSender& sender, std::vector<IpNetwork> allowed);

  void set_url(std::string url) { url_ = std::move(url); }
  // At the start, once the keys are there.
  void begin(std::int64_t waiting) {
    counts_.waiting = waiting;
    look();
  }
  // At a drain: nothing is sent any more, and what is under way has a short time.
  void stop();
  bool is_settled() const;

  // Whether a call may name this URL.
  Result<> check(const std::string& url);
  // For the batch with the end of the call.
  WebhookRecord record_of(const WebhookTarget& target, const CallEndRecord& end,
                          const CallOutcome& outcome) const;
  // The end of a call is on disk, and what is to be told of it.
  void added() {
    ++counts_.waiting;
    look();
  }

  void list(std::optional<WebhookState> state, std::size_t limit, Done done) override;
  void show(WebhookId webhook, Done done) override;
  void replay(WebhookId webhook, Done done) override;
  void secret(Done done) override { keys_.tell(std::move(done)); }
  void rotate_secret(Duration overlap, Done done) override;
  WebhookCounts counts() const override { return counts_; }

 private:
  void look();
  void found(Result<std::vector<StoredWebhook>> waiting);
  void look_at(Time when);
  void send(const StoredWebhook& stored);
  void tried(WebhookId webhook, Result<WebhookReply> reply);
  void write(WebhookId webhook);
  void count(const WebhookProgress& progress);
  void written(WebhookId webhook, const Result<>& result);
  std::vector<std::string> full_origins() const;
  std::size_t sending_to(const std::string& origin) const;

  EngineDriver& driver_;
  Store& store_;
  Background& background_;
  WebhookKeys& keys_;
  WebhookSender& sender_;
  const std::vector<IpNetwork> allowed_;
  Random random_;
  std::string url_;

  struct Sending {
    std::string origin;
    WebhookProgress progress;
    bool is_over = false;  // and being written
  };
  std::map<WebhookId, Sending> sending_;
  WebhookCounts counts_;
  bool asking_ = false;  // the store, for the next ones
  bool again_ = false;   // something came while it was asked
  Time planned_ = Time::never();
  bool stopped_ = false;
  Time stopped_at_;
};

}  // namespace ember
