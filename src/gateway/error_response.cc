#include "gateway/error_response.h"

#include <nlohmann/json.hpp>

#include "gateway/response_head.h"

namespace ember {
namespace {

constexpr std::int64_t kRetryAfterSeconds = 1;  // where whoever refused named no better time

// Walks the top level of one JSON object; values below it are skipped by brackets and strings.
class ObjectScanner {
 public:
  explicit ObjectScanner(std::string_view text) : text_(text) {}

  std::optional<RunnerError> scan() {
    RunnerError found;
    if (!take('{')) return std::nullopt;
    if (take('}')) return at_end() ? std::optional(found) : std::nullopt;
    do {
      std::string_view key, value;
      if (!take_string(key) || !take(':') || !take_value(value)) return std::nullopt;
      if (key == "status" && value.size() == 3) found.status = number(value);
    } while (take(','));
    if (!take('}') || !at_end()) return std::nullopt;
    return found;
  }

 private:
  static int number(std::string_view digits) {
    int value = 0;
    for (const char c : digits) {
      if (c < '0' || c > '9') return 0;
      value = value * 10 + (c - '0');
    }
    return value;
  }

  void skip_space() {
    position_ = std::min(text_.find_first_not_of(" \t\r\n", position_), text_.size());
  }
  bool at_end() {
    skip_space();
    return position_ == text_.size();
  }
  bool take(char wanted) {
    skip_space();
    if (position_ == text_.size() || text_[position_] != wanted) return false;
    ++position_;
    return true;
  }

  bool take_string(std::string_view& content) {
    if (!take('"')) return false;
    const std::size_t start = position_;
    for (;;) {
      position_ = text_.find_first_of("\"\\", position_);
      if (position_ == std::string_view::npos) return false;
      if (text_[position_] == '"') break;
      position_ += 2;  // an escape and what it escapes
    }
    content = text_.substr(start, position_ - start);
    ++position_;
    return true;
  }

  bool take_value(std::string_view& value) {
    skip_space();
    const std::size_t start = position_;
    int depth = 0;
    while (position_ < text_.size()) {
      const char c = text_[position_];
      if (c == '"') {
        std::string_view ignored;
        if (!take_string(ignored)) return false;
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
      if (c == '}' || c == ']') --depth;
      ++position_;
    }
    std::size_t end = position_;
    while (end > start && (text_[end - 1] == ' ' || text_[end - 1] == '\n')) --end;
    value = text_.substr(start, end - start);
    return depth == 0 && !value.empty();
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

std::string error_body(const Error& error, const Limit& limit, CallId call,
                       std::string_view exception) {
  std::string body = R"({"error": {"code": ")";
  body.append(error_name(error.code)).append(R"(", "message": )");
  body.append(json_string(error.message));
  if (!limit.name.empty()) {
    body.append(R"(, "limit": {"name": ")").append(limit.name).append(R"(", "value": )");
    body.append(std::to_string(limit.value)).append(1, '}');
  }
  if (call) body.append(R"(, "call_id": ")").append(call.text()).append(1, '"');
  if (!exception.empty()) body.append(R"(, "exception": )").append(exception);
  body.append("}}\n");
  return body;
}

void append_field(std::string& headers, std::string_view name, std::int64_t value) {
  headers.append(name).append(": ");
  append_number(headers, value);
  headers.append("\r\n");
}

// When to come back, and which room there was: none is left, or nobody would have been refused.
void append_limit_fields(std::string& headers, int status, std::int64_t retry_after_s,
                         const Limit& limit) {
  if (status != 429 && status != 503 && status != 507) return;
  const std::int64_t seconds = retry_after_s > 0 ? retry_after_s : kRetryAfterSeconds;
  append_field(headers, "Retry-After", seconds);
  if (status != 429 || limit.name.empty()) return;
  append_field(headers, "X-RateLimit-Limit", limit.value);
  append_field(headers, "X-RateLimit-Remaining", 0);
  append_field(headers, "X-RateLimit-Reset", seconds);
}

}  // namespace

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return 400;
    case ErrorCode::unauthenticated:
      return 401;
    case ErrorCode::permission_denied:
      return 403;
    case ErrorCode::not_found:
      return 404;
    case ErrorCode::conflict:
      return 409;
    case ErrorCode::payload_too_large:
      return 413;
    case ErrorCode::resource_exhausted:
      return 429;
    case ErrorCode::cancelled:
      return 499;
    case ErrorCode::user_exception:
    case ErrorCode::start_failed:
    case ErrorCode::internal:
      return 500;
    case ErrorCode::container_crashed:
    case ErrorCode::out_of_memory:
      return 502;
    case ErrorCode::unavailable:
      return 503;
    case ErrorCode::timed_out:
      return 504;
    case ErrorCode::storage_failed:
      return 507;
  }
  return 500;
}

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::optional<RunnerError> scan_runner_error(std::string_view body) {
  return ObjectScanner(body).scan();
}

Response error_response(const Error& error) { return error_response(status_of(error.code), error); }

Response error_response(int status, const Error& error) {
  Response response;
  response.status = status;
  if (status == 401) response.headers = "WWW-Authenticate: Bearer\r\n";
  append_limit_fields(response.headers, status, 0, {});
  response.body = error_body(error, {}, {}, {});
  return response;
}

Response refusal_response(const CallFailure& refusal) {
  Response response;
  response.status = status_of(refusal.error.code);
  append_limit_fields(response.headers, response.status, refusal.retry_after_s, refusal.limit);
  response.body = error_body(refusal.error, refusal.limit, {}, {});
  return response;
}

Response failure_response(const CallFailure& failure, const CallReport& report) {
  const ErrorCode code = failure.error.code;
  int status = status_of(code);
  const auto runner = scan_runner_error(failure.body);
  if (runner && code == ErrorCode::user_exception && runner->status >= 400 &&
      runner->status <= 599) {
    status = runner->status;
  }
  Response response;
  response.status = status;
  append_limit_fields(response.headers, status, failure.retry_after_s, failure.limit);
  append_call_fields(response.headers, report);
  response.body = error_body(failure.error, failure.limit, report.call,
                             runner ? std::string_view(failure.body) : std::string_view());
  return response;
}

}  // namespace ember
