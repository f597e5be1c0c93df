// Lines of header fields, "Name: value\r\n", as a proxy sees them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ember {

struct HeaderField {
  std::string_view name, value;
};

bool is_same_name(std::string_view name, std::string_view lower_case);
// Whether it is of one connection alone, and goes no further: those of RFC 9110, 7.6.1, and what
// `connection`, the values of Connection, names.
bool is_hop_by_hop(std::string_view name, std::string_view connection);
// The values of all fields of that name, with ", " between them.
std::string joined_values(std::string_view lines, std::string_view lower_case);
// Whether text may stand in a field's name, or in its value.
bool is_field_name(std::string_view text);
bool is_field_value(std::string_view text);

// Takes the first line off; its name is empty where there is none, or it has no colon.
HeaderField next_field(std::string_view& lines);

}  // namespace ember
