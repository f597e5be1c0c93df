// SHA-256 as text.
#pragma once

#include <string>
#include <string_view>

namespace ember {

// 64 hex digits.
std::string hex_sha256(std::string_view bytes);

}  // namespace ember
