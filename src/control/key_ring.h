// API keys. A key's text is seen once, by who asked for it; here and on disk there is its SHA-256.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "control/digest.h"
#include "store/store.h"

namespace ember {

// A new key's text: "em-" and 256 random bits in 43 URL-safe characters.
std::string generate_key();

class KeyRing {
 public:
  void add(const KeyRecord& record);
  // The record of this key; whether it may still be used is the caller's question.
  bool knows(std::string_view key_text) const;
  Result<KeyId> authenticate(std::string_view key_text, Time now) const;

 private:
  struct Key {
    KeyId id;
    Sha256 digest;
    Time expires;
    bool revoked;
  };

  const Key* find(std::string_view key_text) const;

  std::vector<Key> keys_;
};

}  // namespace ember
