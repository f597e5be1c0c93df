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

}  // namespace

void KeyRing::add(const KeyRecord& record) {
  const auto digest = from_hex(record.sha256);
  if (!digest) return;
  keys_[record.id] = record;
  by_digest_[*digest] = record.id;
  ++changes_;
}

void KeyRing::revoke(KeyId id) {
  const auto found = keys_.find(id);
  if (found == keys_.end()) return;
  found->second.revoked = true;
  ++changes_;
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

const KeyRecord* KeyRing::find_usable(std::string_view name) const {
  const auto found = std::ranges::find_if(
      keys_, [&](const auto& entry) { return !entry.second.revoked && entry.second.name == name; });
  return found == keys_.end() ? nullptr : &found->second;
}

std::size_t KeyRing::usable() const {
  const auto count =
      std::ranges::count_if(keys_, [](const auto& entry) { return !entry.second.revoked; });
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
  if (key->revoked) return {ErrorCode::unauthenticated, "the key has been revoked; use another"};
  if (key->expires <= now) return {ErrorCode::unauthenticated, "the key has expired; use another"};
  return key->id;
}

}  // namespace ember
