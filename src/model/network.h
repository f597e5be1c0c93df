// Where a function's containers can send to.
#pragma once

#include <string_view>

#include "base/result.h"

namespace ember {

enum class NetworkAccess {
  internet,  // the public internet, less what the node closes
  none,      // nowhere: the container has its own loopback alone
};

std::string_view network_access_name(NetworkAccess access);
// The refusal says which names there are.
Result<NetworkAccess> parse_network_access(std::string_view text);

}  // namespace ember
