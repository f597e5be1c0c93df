// Webhooks and the keys that sign them, as rows.
#pragma once

#include <vector>

#include "base/result.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace ember {

class WebhookRows {
 public:
  static Result<WebhookRows> prepare(Database& database);

  Result<> write(const WebhookRecord& record);
  Result<> write(const WebhookProgress& record);
  // Those before the one before it are erased.
  Result<> write(const WebhookSecretRecord& record);
  // Those that wait for nothing any more; some at a time.
  Result<> forget(Time created_before);

 private:
  WebhookRows(Statement webhook, Statement progress, Statement secret, Statement old_secrets,
              Statement forgotten);

  Statement webhook_, progress_, secret_, old_secrets_, forgotten_;
};

Result<std::vector<StoredWebhook>> read_waiting_webhooks(Database& database,
                                                         const WaitingWebhooks& query);
Result<std::vector<StoredWebhook>> read_webhooks(Database& database, const WebhookQuery& query);
Result<StoredWebhook> read_webhook(Database& database, WebhookId webhook);
Result<> read_webhook_secrets(Database& database, std::vector<WebhookSecretRecord>& secrets);

}  // namespace ember
