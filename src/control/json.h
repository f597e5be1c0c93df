// JSON at the edge of control: reading what users sent within limits, and writing documents.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/money.h"
#include "base/result.h"
#include "base/time.h"

namespace ember {

using JsonValue = nlohmann::ordered_json;  // keeps the order of members

// Refuses what is no JSON, over `max_bytes` or out of json_bounds.h; `what` names it.
Result<JsonValue> parse_json(std::string_view text, std::string_view what, std::size_t max_bytes);

// Text that is not UTF-8 is mended rather than refused: it may come from user code.
std::string dump_json(const JsonValue& value);

// Reads the members of one object. The first thing that is wrong is kept and given by finish(),
// with the path of the field in it; until then reads give defaults.
class Fields {
 public:
  // `path` is in front of the names in messages: "functions[0]." or "".
  Fields(const JsonValue& object, std::string path);
  Fields(JsonValue&& object, std::string path) = delete;  // it is borrowed

  std::string text(std::string_view name);  // required
  std::string text_or(std::string_view name, std::string fallback);
  std::int64_t integer_or(std::string_view name, std::int64_t fallback);
  bool flag_or(std::string_view name, bool fallback);
  // Null where it is absent. `kind` is the wanted type, for the message.
  const JsonValue* array(std::string_view name);
  const JsonValue* object(std::string_view name);
  const JsonValue* any(std::string_view name);  // of whatever type

  // Notes that the field is wrong.
  void fail(std::string_view name, std::string_view problem);
  // What was wrong, or which member nobody asked for.
  Result<> finish();

 private:
  const JsonValue* find(std::string_view name);
  const JsonValue* find_of(std::string_view name, JsonValue::value_t type, std::string_view kind);

  const JsonValue& object_;
  std::string path_;
  std::vector<std::string_view> seen_;
  std::string problem_;
};

}  // namespace ember
