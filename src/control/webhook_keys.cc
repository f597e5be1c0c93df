#include "control/webhook_keys.h"

#include <openssl/hmac.h>
#include <sodium.h>
#include <spdlog/spdlog.h>

#include <array>
#include <utility>

#include "control/json.h"

namespace ember {
namespace {

constexpr std::size_t kKeyBytes = 32;

std::string base64(std::string_view bytes) {
  constexpr int kVariant = sodium_base64_VARIANT_ORIGINAL;
  std::string text(sodium_base64_encoded_len(bytes.size(), kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), reinterpret_cast<const unsigned char*>(bytes.data()),
                    bytes.size(), kVariant);
  text.pop_back();  // the zero at its end
  return text;
}

std::string place_of(const WebhookSecretRecord& record) {
  return "webhooks/" + record.workspace.text() + "/" + std::to_string(record.version);
}

std::string signature(const SecretBytes& key, std::string_view signed_text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(signed_text.data()), signed_text.size(),
       digest.data(), &size);
  return "v1," + base64({reinterpret_cast<const char*>(digest.data()), size});
}

}  // namespace

WebhookKeys::WebhookKeys(EngineDriver& driver, Store& store, Background& background,
                         std::optional<MasterKey> key, std::function<Result<>()> may_seal)
    : driver_(driver),
      store_(store),
      background_(background),
      master_key_(std::move(key)),
      may_seal_(std::move(may_seal)) {}

void WebhookKeys::restore(const WebhookSecretRecord& record) {
  Key key{record, {}};
  if (master_key_) {
    auto bytes = unseal(*master_key_, place_of(record), record.sealed);
    if (bytes) key.bytes = *std::move(bytes);
  }
  if (key.bytes.empty()) {
    spdlog::error("webhooks: the key that signs them does not open with this master key");
  }
  keys_.push_back(std::move(key));
}

WebhookKeys::Key WebhookKeys::make(std::uint32_t version) const {
  Key key{
      {.workspace = kDefaultWorkspace, .version = version, .created = driver_.now(), .sealed = {}},
      SecretBytes(kKeyBytes)};
  randombytes_buf(key.bytes.data(), key.bytes.size());
  key.record.sealed = seal(*master_key_, place_of(key.record), key.bytes.view());
  return key;
}

// A key whose write fails is none: nothing can be on disk that was signed with it, since batches
// are written in order.
Result<> WebhookKeys::prepare() {
  if (!keys_.empty() && !keys_.back().bytes.empty()) return Ok{};
  if (!keys_.empty()) {
    return {ErrorCode::conflict,
            "webhooks cannot be signed: their key does not open with this master key; start Ember "
            "with the one that sealed it, or replace it: ember webhook secret --rotate"};
  }
  if (auto may = may_seal_(); !may) return std::move(may).error().within("webhooks need a key");
  keys_.push_back(make(1));
  auto written = [this](const Result<>& result) {
    if (result) return;
    spdlog::error("the key of webhooks cannot be written: {}", result.error().message);
    keys_.clear();
  };
  store_.apply({keys_.back().record}, background_.to_loop(std::move(written)));
  return Ok{};
}

std::string WebhookKeys::signatures(std::string_view id, Time at, std::string_view body) {
  std::string text(id);
  text.append(".").append(std::to_string(at.us / 1'000'000)).append(".").append(body);
  std::string all;
  for (const Key& key : keys_) {
    if (key.bytes.empty() || key.record.until <= at) continue;
    all.append(all.empty() ? "" : " ").append(signature(key.bytes, text));
  }
  return all;
}

std::string WebhookKeys::document() const {
  const Key& newest = keys_.back();
  const bool both = keys_.size() > 1 && keys_.front().record.until > driver_.now();
  return dump_json({{"secret", "whsec_" + base64(newest.bytes.view())},
                    {"version", newest.record.version},
                    {"created_ms", newest.record.created.whole_ms()},
                    {"previous_until_ms",
                     both ? JsonValue(keys_.front().record.until.whole_ms()) : JsonValue()}});
}

// Told once it is on disk: writing it again changes nothing there.
void WebhookKeys::tell(Done done) {
  if (auto ready = prepare(); !ready) return done(std::move(ready).error());
  auto written = [this, done = std::move(done)](Result<> result) {
    if (!result) return done(std::move(result).error());
    done(document());
  };
  store_.apply({keys_.back().record}, background_.to_loop(std::move(written)));
}

void WebhookKeys::rotate(Duration overlap, Done done) {
  if (auto may = may_seal_(); !may) return done(std::move(may).error());
  if (std::exchange(rotating_, true)) {
    return done(Error{ErrorCode::conflict, "the key is being replaced just now"});
  }
  std::vector<Key> next;
  Batch batch;
  if (!keys_.empty() && !keys_.back().bytes.empty()) {
    next.push_back(keys_.back());
    next.back().record.until = driver_.now() + overlap;
    batch.emplace_back(next.back().record);
  }
  next.push_back(make(keys_.empty() ? 1 : keys_.back().record.version + 1));
  batch.emplace_back(next.back().record);
  auto written = [this, next = std::move(next), done = std::move(done)](Result<> result) mutable {
    rotating_ = false;
    if (!result) return done(std::move(result).error());
    keys_ = std::move(next);
    done(document());
  };
  store_.apply(std::move(batch), background_.to_loop(std::move(written)));
}

}  // namespace ember
