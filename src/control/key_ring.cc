#include "control/key_ring.h"

#include <openssl/rand.h>

#include <array>
#include <charconv>

#include "base/assert.h"

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

std::string generate_key() {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::array<unsigned char, 33> bytes{};  // the last one is padding for the last digit
  const int done = RAND_bytes(bytes.data(), 32);
  EMBER_ASSERT(done == 1);
  std::string text = "em-";
  for (std::size_t bit = 0; bit < 256; bit += 6) {
    const unsigned pair = (bytes[bit / 8] << 8) | bytes[bit / 8 + 1];
    text += kDigits[(pair >> (10 - bit % 8)) & 63];
  }
  return text;
}

void KeyRing::add(const KeyRecord& record) {
  if (const auto digest = from_hex(record.sha256)) {
    keys_.push_back({record.id, *digest, record.expires, record.revoked});
  }
}

bool KeyRing::knows(std::string_view key_text) const { return find(key_text) != nullptr; }

// Looks at every key whichever matches, so that the time tells nothing about the ring.
const KeyRing::Key* KeyRing::find(std::string_view key_text) const {
  if (key_text.size() > kLongestKey) return nullptr;
  const Sha256 digest = sha256(key_text);
  const Key* found = nullptr;
  for (const Key& key : keys_) {
    if (equal_in_constant_time(key.digest, digest)) found = &key;
  }
  return found;
}

Result<KeyId> KeyRing::authenticate(std::string_view key_text, Time now) const {
  const Key* key = find(key_text);
  if (!key) {
    return {ErrorCode::unauthenticated,
            "the key is not known here; `ember up` prints where this server's key is"};
  }
  if (key->revoked) return {ErrorCode::unauthenticated, "the key has been revoked; use another"};
  if (key->expires <= now) return {ErrorCode::unauthenticated, "the key has expired; use another"};
  return key->id;
}

}  // namespace ember
