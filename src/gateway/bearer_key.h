// Keys as requests bring them.
#pragma once

#include <string_view>

namespace ember {

// The key of "Bearer KEY"; "" for anything else.
std::string_view bearer_key(std::string_view authorization);

inline constexpr std::string_view kNoKeyCame =
    "no key came with the request; send 'Authorization: Bearer KEY'";

}  // namespace ember
