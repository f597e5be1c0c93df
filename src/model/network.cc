#include "model/network.h"

#include <string>

namespace ember {
namespace {

constexpr NetworkAccess kAll[] = {NetworkAccess::internet, NetworkAccess::none};
constexpr std::size_t kShownBytes = 64;

}  // namespace

std::string_view network_access_name(NetworkAccess access) {
  return access == NetworkAccess::none ? "none" : "internet";
}

Result<NetworkAccess> parse_network_access(std::string_view text) {
  for (const NetworkAccess access : kAll) {
    if (text == network_access_name(access)) return access;
  }
  return {ErrorCode::invalid_argument, '"' + std::string(text.substr(0, kShownBytes)) +
                                           "\" is not known; \"internet\" and \"none\" are"};
}

}  // namespace ember
