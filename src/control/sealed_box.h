// Sealing at rest: XChaCha20-Poly1305 with a fresh data key for each box, and that key sealed in
// the same way under the master key. What a box belongs to is bound to it: moved elsewhere it does
// not open.
//
//   byte 1 (of the format) · nonce, 24 · data key, 32 + 16 · nonce, 24 · text, n + 16
//
// and all of it as base 64.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "control/secret_bytes.h"

namespace ember {

class MasterKey {
 public:
  static constexpr std::size_t kBytes = 32;

  static MasterKey generate();
  // From 64 hex digits; the message says how to make some, and nothing of the text.
  static Result<MasterKey> parse(std::string_view text);

  SecretBytes text() const;  // 64 hex digits
  const unsigned char* bytes() const { return bytes_.data(); }

 private:
  explicit MasterKey(SecretBytes bytes) : bytes_(std::move(bytes)) {}

  SecretBytes bytes_;
};

std::string seal(const MasterKey& key, std::string_view belongs_to, std::string_view text);
// Nothing if it was sealed with another key or for another place, or has been changed.
std::optional<SecretBytes> unseal(const MasterKey& key, std::string_view belongs_to,
                                  std::string_view text);

}  // namespace ember
