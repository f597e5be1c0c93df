#include "control/error_body.h"

#include "control/json.h"

namespace ember {
namespace {

// Beyond what a runner makes: a pickle of at most 1 MiB in base 64, two texts of 64 Ki characters.
constexpr std::size_t kMaxErrorBodyBytes = 4u << 20;
constexpr std::size_t kMaxTextBytes = 4096;

std::string text_of(const JsonValue& value, const char* name) {
  const auto found = value.find(name);
  return found != value.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Whether it stays JSON inside another document: the parser forgives a byte order mark before a
// text, and whatever stands behind a zero byte.
bool can_be_embedded(std::string_view json) {
  return !json.starts_with("\xef\xbb\xbf") && json.find('\0') == std::string_view::npos;
}

ErrorCode code_of(const std::string& kind) {
  if (kind == "bad_arguments") return ErrorCode::invalid_argument;
  if (kind == "cancelled") return ErrorCode::cancelled;
  if (kind == "load_failed") return ErrorCode::start_failed;
  return ErrorCode::user_exception;
}

// What the function never saw, or gave back whole: another attempt would end the same way.
bool is_refusal(const std::string& kind) {
  return kind == "bad_arguments" || kind == "result_not_serializable";
}

int status_of(const JsonValue& value) {
  const auto found = value.find("status");
  if (found == value.end() || !found->is_number_integer()) return 0;
  const auto status = found->get<std::int64_t>();
  return status >= 400 && status <= 599 ? static_cast<int>(status) : 0;
}

}  // namespace

ErrorBody read_error_body(std::string_view json) {
  const auto value = parse_json(json, "error body", kMaxErrorBodyBytes);
  if (!value || !value->is_object() || !can_be_embedded(json)) {
    return {ErrorCode::internal, InputOutcome::failed, 0, "the runner gave an error without a body",
            false};
  }
  ErrorBody body;
  body.code = code_of(text_of(*value, "kind"));
  if (body.code == ErrorCode::cancelled) body.outcome = InputOutcome::cancelled;
  if (is_refusal(text_of(*value, "kind"))) body.outcome = InputOutcome::refused;
  if (body.code == ErrorCode::user_exception) body.status = status_of(*value);
  const std::string type = text_of(*value, "type");
  body.message = text_of(*value, "message");
  if (!type.empty()) body.message = body.message.empty() ? type : type + ": " + body.message;
  if (body.message.size() > kMaxTextBytes) body.message.resize(kMaxTextBytes);
  return body;
}

ErrorBody mend_error_body(std::string& json) {
  ErrorBody body = read_error_body(json);
  if (!body.readable) json = to_error_body({{body.code, body.message}, {}, 0});
  return body;
}

// What a runner made itself goes on unread; the rest takes its form.
std::string to_error_body(const CallFailure& failure) {
  if (!failure.body.empty()) return failure.body;
  JsonValue limit;
  if (!failure.limit.name.empty()) {
    limit = {{"name", failure.limit.name}, {"value", failure.limit.value}};
  }
  const bool told = !failure.told_code.empty();
  return dump_json({{"kind", told ? failure.told_code : error_name(failure.error.code)},
                    {"type", "EmberError"},
                    {"message", failure.error.message},
                    {"retry_after_s",
                     failure.retry_after_s > 0 ? JsonValue(failure.retry_after_s) : JsonValue()},
                    {"limit", std::move(limit)},
                    {"traceback", ""},
                    {"pickle", nullptr},
                    {"status", nullptr}});
}

}  // namespace ember
