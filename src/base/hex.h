// Bytes as lower-case hex digits.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ember {

inline constexpr std::string_view kHexDigits = "0123456789abcdef";

inline std::string hex(std::span<const std::uint8_t> bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    text += kHexDigits[byte >> 4];
    text += kHexDigits[byte & 15];
  }
  return text;
}

}  // namespace ember
