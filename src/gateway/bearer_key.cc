#include "gateway/bearer_key.h"

#include <cstddef>

namespace ember {

std::string_view bearer_key(std::string_view authorization) {
  constexpr std::size_t kScheme = 7;
  if (authorization.size() <= kScheme) return {};
  const std::string_view scheme = authorization.substr(0, kScheme);
  constexpr std::string_view kWanted = "bearer ";
  for (std::size_t i = 0; i < kScheme; ++i) {
    if ((scheme[i] | 0x20) != kWanted[i]) return {};
  }
  return authorization.substr(kScheme);
}

}  // namespace ember
