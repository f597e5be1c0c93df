#include <openssl/sha.h>

#include "node/node_client.h"
#include "node/node_messages.h"

namespace ember {

std::string image_id(const ImageSpec& spec) {
  // nlohmann's objects are ordered by key and its compact form has no spaces: canonical enough.
  const std::string text = canonical_json(spec);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string id = "im-";
  for (int i = 0; i < 16; ++i) {
    id += kHex[digest[i] >> 4];
    id += kHex[digest[i] & 15];
  }
  return id;
}

}  // namespace ember
