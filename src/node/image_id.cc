#include "node/digest.h"
#include "node/node_client.h"
#include "node/node_messages.h"

namespace ember {

// nlohmann's objects are ordered by key and its compact form has no spaces: canonical enough.
std::string image_id(const ImageSpec& spec) {
  return "im-" + hex_sha256(canonical_json(spec)).substr(0, 32);
}

}  // namespace ember
