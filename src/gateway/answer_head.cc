#include "gateway/answer_head.h"

#include <charconv>

#include "gateway/header_fields.h"

namespace ember {
namespace {

constexpr std::size_t kMaxHeadBytes = 256u << 10;
constexpr std::string_view kLineEnd = "\r\n";

Error malformed(std::string why) {
  return {ErrorCode::container_crashed, "the app's answer has " + std::move(why)};
}

template <class Number>
std::optional<Number> whole_number(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return {};
  return number;
}

Result<> take_length(std::string_view value, AnswerHead& head) {
  const auto length = whole_number<std::uint64_t>(value);
  if (!length) return malformed("a Content-Length that is no number");
  if (head.content_length && *head.content_length != *length) {
    return malformed("two lengths of its body");
  }
  head.content_length = length;
  return Ok{};
}

}  // namespace

Result<AnswerHead> parse_answer_head(std::string_view text) {
  if (text.size() > kMaxHeadBytes) return malformed("header fields of more than 256 KiB");
  const std::string_view first = text.substr(0, text.find(kLineEnd));
  std::string_view lines = text.substr(std::min(text.size(), first.size() + kLineEnd.size()));
  AnswerHead head;
  const auto status = whole_number<int>(first);
  const bool ends = lines.empty() || lines.ends_with(kLineEnd);
  if (!status || *status < 101 || *status > 999 || !ends) return malformed("no status");
  head.status = *status;
  const std::string connection = joined_values(lines, "connection");
  while (!lines.empty()) {
    const HeaderField field = next_field(lines);
    if (!is_field_name(field.name) || !is_field_value(field.value)) {
      return malformed("a malformed header field");
    }
    if (is_same_name(field.name, "content-length")) {
      if (auto taken = take_length(field.value, head); !taken) return std::move(taken).error();
      continue;
    }
    const bool said_by_us = is_same_name(field.name, "date");
    if (said_by_us || is_hop_by_hop(field.name, connection)) continue;
    head.fields.append(field.name).append(": ").append(field.value).append(kLineEnd);
  }
  return head;
}

}  // namespace ember
