// API keys. A key's text is seen once, by who asked for it; here and on disk there is its SHA-256.
// Keys are found by that digest: what the time of the look-up may tell of it opens nothing.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "control/digest.h"
#include "store/store.h"

namespace ember {

enum class KeyState : std::uint8_t { usable, revoked, expired };
KeyState state_of(const KeyRecord& key, Time now);

class KeyRing {
 public:
  void add(const KeyRecord& record);
  // At once and for good. Nothing happens if there is no such key.
  void revoke(KeyId id, Time now);
  // Leaves out those that ended before, but for the one that is spared, and gives their ids.
  std::vector<KeyId> forget_ended_before(Time before, KeyId spared);

  // The key with this text, usable or not; null if it is not known.
  const KeyRecord* find_text(std::string_view key_text) const;
  const KeyRecord* find(KeyId id) const;
  // The one that may still be used and has this name; null if there is none.
  const KeyRecord* find_usable(std::string_view name, Time now) const;
  Result<KeyId> authenticate(std::string_view key_text, Time now) const;

  // By id, so oldest first.
  const std::map<KeyId, KeyRecord>& keys() const { return keys_; }
  std::size_t usable(Time now) const;
  // Counts changes: what was found before one has to be looked up again after it.
  std::uint64_t changes() const { return changes_; }

 private:
  std::map<KeyId, KeyRecord> keys_;
  std::map<Sha256, KeyId> by_digest_;
  std::uint64_t changes_ = 0;
};

}  // namespace ember
