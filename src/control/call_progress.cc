#include "control/call_progress.h"

#include <algorithm>

namespace ember {
namespace {

constexpr std::size_t kMaxMetrics = 32;

bool is_count(const JsonValue& value) { return value.is_null() || value.is_number(); }

bool are_metrics(const JsonValue& value) {
  return value.is_object() && value.size() <= kMaxMetrics && std::ranges::all_of(value, is_count);
}

}  // namespace

Result<std::string> progress_text(std::string_view body, Time now) {
  auto value = parse_json(body, "progress", kMaxProgressBytes);
  if (!value) return std::move(value).error();
  Fields fields(*value, "");
  const JsonValue* step = fields.any("step");
  const JsonValue* total = fields.any("total");
  const JsonValue* metrics = fields.any("metrics");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  const bool fits = (!step || is_count(*step)) && (!total || is_count(*total)) &&
                    (!metrics || are_metrics(*metrics));
  if (!fits) return {ErrorCode::invalid_argument, "progress is told in numbers"};
  return dump_json({{"step", step ? *step : JsonValue()},
                    {"total", total ? *total : JsonValue()},
                    {"metrics", metrics ? *metrics : JsonValue::object()},
                    {"at_ms", now.whole_ms()}});
}

JsonValue to_json(const CallProgress& progress) {
  return progress ? JsonValue::parse(*progress, nullptr, false) : JsonValue();
}

}  // namespace ember
