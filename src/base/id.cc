#include "base/id.h"

namespace ember {
namespace {

constexpr std::string_view kDigits = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr int kLength = 13;

}  // namespace

std::string id_digits(std::uint64_t value) {
  std::string text(kLength, '0');
  for (int i = kLength - 1; i >= 0; --i) {
    text[static_cast<std::size_t>(i)] = kDigits[value & 31];
    value >>= 5;
  }
  return text;
}

std::optional<std::uint64_t> parse_id_digits(std::string_view digits) {
  if (digits.size() != kLength) return std::nullopt;
  // 13 digits hold 65 bits: the first may only be 0 to f.
  if (kDigits.find(digits[0]) > 15) return std::nullopt;
  std::uint64_t value = 0;
  for (const char digit : digits) {
    const auto position = kDigits.find(digit);
    if (position == std::string_view::npos) return std::nullopt;
    value = (value << 5) | position;
  }
  return value;
}

}  // namespace ember
