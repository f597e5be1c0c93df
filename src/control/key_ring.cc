#include "control/key_ring.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "control/key_text.h"

namespace ember {
namespace {

constexpr std::size_t kLongestKey = 256;

std::optional<Sha256> from_hex(std::string_view text) {
  if (!is_sha256_hex(text)) return std::nullopt;
  Sha256 digest;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const char* at = text.data() + 2 * i;
    std::from_chars(at, at + 2, digest[i], 16);
  }
  return digest;
}

// Time::never() for one that has no end yet.
Time end_of(const KeyRecord& key) {
  return key.revoked.us != 0 ? std::min(key.revoked, key.expires) : key.expires;
}

}  // namespace

KeyState state_of(const KeyRecord& key, Time now) {
  if (key.revoked.us != 0) return KeyState::revoked;
  return key.expires <= now ? KeyState::expired : KeyState::usable;
}

void KeyRing::add(const KeyRecord& record) {
  const auto digest = from_hex(record.sha256);
  if (!digest) return;
  keys_[record.id] = record;
  by_digest_[*digest] = record.id;
  ++changes_;
}

void KeyRing::revoke(KeyId id, Time now) {
  const auto found = keys_.find(id);
  if (found == keys_.end()) return;
  if (found->second.revoked.us == 0) found->second.revoked = now;
  ++changes_;
}

std::vector<KeyId> KeyRing::forget_ended_before(Time before, KeyId spared) {
  std::vector<KeyId> ended;
  std::erase_if(keys_, [&](const auto& entry) {
    if (entry.first == spared || end_of(entry.second) >= before) return false;
    ended.push_back(entry.first);
    return true;
  });
  std::erase_if(by_digest_, [&](const auto& entry) { return !keys_.contains(entry.second); });
  return ended;
}

const KeyRecord* KeyRing::find_text(std::string_view key_text) const {
  if (key_text.size() > kLongestKey) return nullptr;
  const auto found = by_digest_.find(sha256(key_text));
  return found == by_digest_.end() ? nullptr : find(found->second);
}

const KeyRecord* KeyRing::find(KeyId id) const {
  const auto found = keys_.find(id);
  return found == keys_.end() ? nullptr : &found->second;
}

const KeyRecord* KeyRing::find_usable(std::string_view name, Time now) const {
  const auto found = std::ranges::find_if(keys_, [&](const auto& entry) {
    return entry.second.name == name && state_of(entry.second, now) == KeyState::usable;
  });
  return found == keys_.end() ? nullptr : &found->second;
}

std::size_t KeyRing::usable(Time now) const {
  const auto count = std::ranges::count_if(
      keys_, [&](const auto& entry) { return state_of(entry.second, now) == KeyState::usable; });
  return static_cast<std::size_t>(count);
}

Result<KeyId> KeyRing::authenticate(std::string_view key_text, Time now) const {
  const KeyRecord* key = find_text(key_text);
  if (!key && is_damaged_key(key_text)) {
    return {ErrorCode::unauthenticated,
            "the key is not whole: its last characters do not fit the rest; copy all of it"};
  }
  if (!key) {
    return {ErrorCode::unauthenticated,
            "the key is not known here; `ember up` prints where this server's key is"};
  }
  switch (state_of(*key, now)) {
    case KeyState::usable:
      return key->id;
    case KeyState::revoked:
      return {ErrorCode::unauthenticated, "the key has been revoked; use another"};
    case KeyState::expired:
      break;
  }
  return {ErrorCode::unauthenticated, "the key has expired; use another"};
}

}  // namespace ember
