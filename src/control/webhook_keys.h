// The keys that webhooks are signed with: one for the workspace, and for a while after it was
// replaced the one before it. They are sealed in the store, and shown to who has a key of the
// workspace: receivers need them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/background.h"
#include "control/engine_driver.h"
#include "control/sealed_box.h"
#include "store/store.h"

namespace ember {

class WebhookKeys {
 public:
  using Done = std::function<void(Result<std::string>)>;  // with a document

  // `may_seal`: whether anything may be sealed with the master key that there is.
  WebhookKeys(EngineDriver& driver, Store& store, Background& background,
              std::optional<MasterKey> key, std::function<Result<>()> may_seal);

  void restore(const WebhookSecretRecord& record);  // oldest first

  // Whether webhooks can be signed. Makes the first key where there is none.
  Result<> prepare();
  // The value of a webhook-signature field. After prepare().
  std::string signatures(std::string_view id, Time at, std::string_view body);

  void tell(Done done);
  void rotate(Duration overlap, Done done);

 private:
  struct Key {
    WebhookSecretRecord record;
    SecretBytes bytes;  // empty: it does not open with this master key
  };

  Key make(std::uint32_t version) const;
  std::string document() const;

  EngineDriver& driver_;
  Store& store_;
  Background& background_;
  const std::optional<MasterKey> master_key_;
  const std::function<Result<>()> may_seal_;
  std::vector<Key> keys_;  // the newest last; at most two
  bool rotating_ = false;
};

}  // namespace ember
