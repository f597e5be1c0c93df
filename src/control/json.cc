#include "control/json.h"

#include <algorithm>

#include "node/json_bounds.h"

namespace ember {
namespace {

constexpr std::size_t kShownName = 64;

}  // namespace

Result<JsonValue> parse_json(std::string_view text, std::string_view what, std::size_t max_bytes) {
  const std::string name(what);
  if (text.size() > max_bytes) {
    return {ErrorCode::payload_too_large, name + " has " + std::to_string(text.size()) +
                                              " bytes; the most is " + std::to_string(max_bytes)};
  }
  switch (JsonBounds<JsonValue>::check(text)) {
    case JsonShape::fine:
      return JsonValue::parse(text, nullptr, /*allow_exceptions=*/false);
    case JsonShape::too_deep:
      return {ErrorCode::invalid_argument, name + " is nested too deeply"};
    case JsonShape::too_wide:
      return {ErrorCode::invalid_argument,
              name + " has an object of more than " + std::to_string(kMaxJsonMembers) + " fields"};
    case JsonShape::not_json:
      break;
  }
  return {ErrorCode::invalid_argument, name + " is not valid JSON"};
}

std::string dump_json(const JsonValue& value) {
  return value.dump(-1, ' ', false, JsonValue::error_handler_t::replace);
}

Fields::Fields(const JsonValue& object, std::string path)
    : object_(object), path_(std::move(path)) {
  if (object_.is_object()) return;
  if (path_.ends_with('.')) path_.pop_back();
  problem_ = (path_.empty() ? "the document" : path_) + " must be an object";
}

const JsonValue* Fields::find(std::string_view name) {
  seen_.push_back(name);
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(std::string(name));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const JsonValue* Fields::find_of(std::string_view name, JsonValue::value_t type,
                                 std::string_view kind) {
  const JsonValue* value = find(name);
  if (!value || value->type() == type) return value;
  fail(name, "must be " + std::string(kind));
  return nullptr;
}

std::string Fields::text(std::string_view name) {
  const JsonValue* value = find_of(name, JsonValue::value_t::string, "a text");
  if (!value) fail(name, "is missing");
  return value ? value->get<std::string>() : std::string();
}

std::string Fields::text_or(std::string_view name, std::string fallback) {
  const JsonValue* value = find_of(name, JsonValue::value_t::string, "a text");
  return value ? value->get<std::string>() : std::move(fallback);
}

std::int64_t Fields::integer_or(std::string_view name, std::int64_t fallback) {
  const JsonValue* value = find(name);
  if (!value) return fallback;
  const bool whole = value->is_number_integer();
  const bool fits = whole && (!value->is_number_unsigned() ||
                              value->get<std::uint64_t>() <= std::uint64_t{INT64_MAX});
  if (!fits) fail(name, "must be a whole number");
  return fits ? value->get<std::int64_t>() : fallback;
}

bool Fields::flag_or(std::string_view name, bool fallback) {
  const JsonValue* value = find_of(name, JsonValue::value_t::boolean, "true or false");
  return value ? value->get<bool>() : fallback;
}

const JsonValue* Fields::array(std::string_view name) {
  return find_of(name, JsonValue::value_t::array, "a list");
}

const JsonValue* Fields::object(std::string_view name) {
  return find_of(name, JsonValue::value_t::object, "an object");
}

const JsonValue* Fields::any(std::string_view name) { return find(name); }

void Fields::fail(std::string_view name, std::string_view problem) {
  if (problem_.empty()) problem_ = path_ + std::string(name) + " " + std::string(problem);
}

Result<> Fields::finish() {
  if (problem_.empty()) {
    for (const auto& member : object_.items()) {
      if (std::ranges::find(seen_, member.key()) != seen_.end()) continue;
      fail(member.key().substr(0, kShownName), "is not a field known here");
      break;
    }
  }
  if (problem_.empty()) return Ok{};
  return {ErrorCode::invalid_argument, problem_};
}

}  // namespace ember
