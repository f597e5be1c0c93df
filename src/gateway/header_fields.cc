#include "gateway/header_fields.h"

#include <algorithm>

namespace ember {
namespace {

constexpr std::string_view kOfOneConnection[] = {"connection",
                                                 "keep-alive",
                                                 "proxy-authenticate",
                                                 "proxy-authorization",
                                                 "proxy-connection",
                                                 "te",
                                                 "trailer",
                                                 "transfer-encoding",
                                                 "upgrade"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool is_same_text(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_token_character(unsigned char c) {
  const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return plain ||
         std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
}

}  // namespace

bool is_same_name(std::string_view name, std::string_view lower_case) {
  return is_same_text(name, lower_case);
}

bool is_hop_by_hop(std::string_view name, std::string_view connection) {
  const auto is_it = [&](std::string_view one) { return is_same_text(name, one); };
  if (std::ranges::any_of(kOfOneConnection, is_it)) return true;
  while (!connection.empty()) {
    const std::string_view one = connection.substr(0, connection.find(','));
    connection.remove_prefix(std::min(connection.size(), one.size() + 1));
    if (is_it(trimmed(one))) return true;
  }
  return false;
}

std::string joined_values(std::string_view lines, std::string_view lower_case) {
  std::string values;
  while (!lines.empty()) {
    const HeaderField field = next_field(lines);
    if (!is_same_text(field.name, lower_case)) continue;
    if (!values.empty()) values.append(", ");
    values.append(field.value);
  }
  return values;
}

bool is_field_name(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](unsigned char c) { return is_token_character(c); });
}

bool is_field_value(std::string_view text) {
  return std::ranges::all_of(text,
                             [](unsigned char c) { return (c >= ' ' && c != 0x7f) || c == '\t'; });
}

HeaderField next_field(std::string_view& lines) {
  const std::string_view line = lines.substr(0, lines.find("\r\n"));
  lines.remove_prefix(std::min(lines.size(), line.size() + 2));
  const std::size_t colon = line.find(':');
  if (colon == line.npos) return {};
  return {line.substr(0, colon), trimmed(line.substr(colon + 1))};
}

}  // namespace ember
