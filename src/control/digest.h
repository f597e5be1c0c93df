// SHA-256 (hex() makes text of it), and comparing secrets without telling by the time it takes
// where they differ.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/hex.h"

namespace ember {

using Sha256 = std::array<std::uint8_t, 32>;

Sha256 sha256(std::string_view bytes);
// Whether the text is 64 lower-case hex digits.
bool is_sha256_hex(std::string_view text);
bool equal_in_constant_time(const Sha256& a, const Sha256& b);

}  // namespace ember
