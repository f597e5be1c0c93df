#include "control/shared_batch.h"

#include <array>
#include <optional>
#include <utility>

#include "control/json.h"

namespace ember {
namespace {

constexpr std::size_t kMaxLine = 32u << 20;  // of as many keys as there may be
constexpr std::array<std::pair<std::string_view, BodyFormat>, 3> kFormats{
    {{"json", BodyFormat::json}, {"pickle", BodyFormat::pickle}, {"bytes", BodyFormat::bytes}}};

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

std::optional<BodyFormat> parse_format(std::string_view name) {
  for (const auto& [known, format] : kFormats) {
    if (known == name) return format;
  }
  return std::nullopt;
}

std::string_view format_name(BodyFormat format) {
  for (const auto& [name, known] : kFormats) {
    if (known == format) return name;
  }
  return "bytes";
}

// Takes the value off the front of the rest.
Result<SharedItem> parse_item(SharedKind kind, const JsonValue& value, std::size_t index,
                              std::string_view& rest) {
  Fields fields(value, "items[" + std::to_string(index) + "].");
  SharedItem item;
  if (kind == SharedKind::dict) item.key = fields.text("key");
  const auto format = parse_format(fields.text_or("format", "bytes"));
  if (!format) fields.fail("format", "must be json, pickle or bytes");
  item.size_bytes = fields.integer_or("size_bytes", -1);
  if (item.size_bytes < 0) fields.fail("size_bytes", "must be the length of the value");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  const auto size = static_cast<std::size_t>(item.size_bytes);
  if (size > rest.size()) return invalid("the body is shorter than its items are said to be");
  item.value = {*format, std::string(rest.substr(0, size))};
  rest.remove_prefix(size);
  return item;
}

JsonValue to_json(SharedKind kind, const SharedItem& item) {
  JsonValue value = JsonValue::object();
  if (kind == SharedKind::dict) value["key"] = item.key;
  if (kind == SharedKind::queue) value["sequence"] = item.sequence;
  value["format"] = format_name(item.value.format);
  value["size_bytes"] = item.size_bytes;
  return value;
}

}  // namespace

Result<std::vector<SharedItem>> parse_shared_batch(SharedKind kind, std::string_view batch) {
  const std::size_t end = batch.find('\n');
  if (end == std::string_view::npos) {
    return invalid("the body must begin with a line of JSON that lists its items");
  }
  const auto line = parse_json(batch.substr(0, end), "the first line", kMaxLine);
  if (!line) return line.error();
  Fields fields(*line, "");
  const JsonValue* list = fields.array("items");
  if (!list) fields.fail("items", "is missing");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (std::cmp_greater(list->size(), kMaxItemsAtOnce)) {
    return invalid("at most " + std::to_string(kMaxItemsAtOnce) + " items go at once");
  }
  std::string_view rest = batch.substr(end + 1);
  std::vector<SharedItem> items;
  for (const JsonValue& value : *list) {
    auto item = parse_item(kind, value, items.size(), rest);
    if (!item) return std::move(item).error();
    items.push_back(std::move(item).value());
  }
  if (!rest.empty()) return invalid("the body is longer than its items are said to be");
  return items;
}

std::string shared_listing(SharedKind kind, const SharedItems& items) {
  JsonValue list = JsonValue::array();
  for (const SharedItem& item : items.items) list.push_back(to_json(kind, item));
  return dump_json({{"items", std::move(list)}, {"more", items.has_more}});
}

std::string shared_batch(SharedKind kind, const SharedItems& items) {
  std::string batch = shared_listing(kind, items);
  batch += '\n';
  std::size_t size = batch.size();
  for (const SharedItem& item : items.items) size += item.value.bytes.size();
  batch.reserve(size);
  for (const SharedItem& item : items.items) batch += item.value.bytes;
  return batch;
}

}  // namespace ember
