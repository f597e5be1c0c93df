#include <openssl/sha.h>

#include "node/digest.h"
#include "node/node_client.h"
#include "node/node_messages.h"

namespace ember {

std::string hex_sha256(std::string_view bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : digest) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

// nlohmann's objects are ordered by key and its compact form has no spaces: canonical enough.
std::string image_id(const ImageSpec& spec) {
  return "im-" + hex_sha256(canonical_json(spec)).substr(0, 32);
}

}  // namespace ember
