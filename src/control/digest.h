// SHA-256, and comparing secrets without telling by the time it takes where they differ.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace ember {

using Sha256 = std::array<std::uint8_t, 32>;

Sha256 sha256(std::string_view bytes);
std::string hex(const Sha256& digest);
// Whether the text is 64 lower-case hex digits.
bool is_sha256_hex(std::string_view text);
bool equal_in_constant_time(const Sha256& a, const Sha256& b);

}  // namespace ember
