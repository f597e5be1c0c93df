#include "gateway/query.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace ember {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text) {
  if (text.find('%') == std::string_view::npos) return std::string(text);
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int value = hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]);
    if (hex_digit(text[i + 1]) < 0 || hex_digit(text[i + 2]) < 0 || value == 0) return std::nullopt;
    result.push_back(static_cast<char>(value));
    i += 2;
  }
  return result;
}

std::optional<std::string_view> Query::find(std::string_view name) const {
  std::string_view rest = text_;
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (pair.substr(0, equals) == name) return pair.substr(std::min(equals + 1, pair.size()));
  }
  return std::nullopt;
}

std::string Query::text(std::string_view name) const {
  std::string value(find(name).value_or(""));
  std::replace(value.begin(), value.end(), '+', ' ');
  return percent_decode(value).value_or("");
}

std::optional<std::int64_t> Query::number(std::string_view name) const {
  const std::string digits = text(name);
  if (digits.empty()) return std::nullopt;
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  return whole && value >= 0 && value <= (1ll << 53) ? value : -1;
}

}  // namespace ember
