// Strong identifiers: a NodeId never passes for a ContainerId. An id is 64 bits, made by the
// driver (or by the engine from a seed the driver gave) and shown as a prefix and 13 characters
// of Crockford base 32, so that ids made later sort later as text too.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ember {

// The 13 characters for a value; no prefix.
std::string id_digits(std::uint64_t value);
// The inverse; nothing if the text is not exactly 13 digits of a 64-bit value.
std::optional<std::uint64_t> parse_id_digits(std::string_view digits);

// Tag must have `static constexpr std::string_view kPrefix`, for example "ct".
template <class Tag>
struct Id {
  std::uint64_t value = 0;

  constexpr explicit operator bool() const { return value != 0; }
  friend constexpr auto operator<=>(Id, Id) = default;

  std::string text() const { return std::string(Tag::kPrefix) + "-" + id_digits(value); }

  // Accepts what text() gives, and nothing else.
  static std::optional<Id> parse(std::string_view text) {
    const auto prefix = Tag::kPrefix;
    if (text.size() != prefix.size() + 14 || !text.starts_with(prefix) ||
        text[prefix.size()] != '-') {
      return std::nullopt;
    }
    const auto value = parse_id_digits(text.substr(prefix.size() + 1));
    if (!value || *value == 0) return std::nullopt;
    return Id{*value};
  }
};

// Mixes the bits of an id for hash tables that are looked up and never iterated.
struct IdHash {
  template <class Tag>
  std::size_t operator()(Id<Tag> id) const {
    std::uint64_t x = id.value * 0x9E3779B97F4A7C15ull;
    return static_cast<std::size_t>(x ^ (x >> 32));
  }
};

}  // namespace ember
