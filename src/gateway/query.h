// Percent-decoding and query strings.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ember {

// Nothing if an escape is malformed or a NUL comes out. '+' stays '+'.
std::optional<std::string> percent_decode(std::string_view text);

class Query {
 public:
  explicit Query(std::string_view text) : text_(text) {}

  // The decoded value of the first `name=value`; "" where the name is not there. '+' is a space.
  std::string text(std::string_view name) const;
  bool has(std::string_view name) const { return find(name).has_value(); }
  // A whole number; nothing if there is no such name; -1 if it is not a number from 0 to 2^53.
  std::optional<std::int64_t> number(std::string_view name) const;

 private:
  // As it stands there.
  std::optional<std::string_view> find(std::string_view name) const;

  std::string_view text_;
};

}  // namespace ember
