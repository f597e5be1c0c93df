#include "node/digest.h"

#include <openssl/sha.h>

#include <array>

#include "base/hex.h"

namespace ember {

std::string hex_sha256(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return hex(digest);
}

}  // namespace ember
