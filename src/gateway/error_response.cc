#include "gateway/error_response.h"

#include <nlohmann/json.hpp>

#include "gateway/response_head.h"

namespace ember {
namespace {

constexpr std::int64_t kRetryAfterSeconds = 1;  // where whoever refused named no better time

std::string error_body(const CallFailure& failure, CallId call, std::string_view exception) {
  const Error& error = failure.error;
  const Limit& limit = failure.limit;
  std::string body = R"({"error": {"code": ")";
  body.append(failure.told_code.empty() ? error_name(error.code) : failure.told_code)
      .append(R"(", "message": )");
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

Response error_response(const Error& error) { return error_response(status_of(error.code), error); }

Response error_response(int status, const Error& error) {
  Response response;
  response.status = status;
  if (status == 401) response.headers = "WWW-Authenticate: Bearer\r\n";
  append_limit_fields(response.headers, status, 0, {});
  response.body = error_body({error}, {}, {});
  return response;
}

Response refusal_response(const CallFailure& refusal) {
  Response response;
  response.status = refusal.status ? refusal.status : status_of(refusal.error.code);
  append_limit_fields(response.headers, response.status, refusal.retry_after_s, refusal.limit);
  response.body = error_body(refusal, {}, {});
  return response;
}

Response failure_response(const CallFailure& failure, const CallReport& report) {
  const int status = failure.status ? failure.status : status_of(failure.error.code);
  Response response;
  response.status = status;
  append_limit_fields(response.headers, status, failure.retry_after_s, failure.limit);
  append_call_fields(response.headers, report);
  response.body = error_body(failure, report.call, failure.body);
  return response;
}

}  // namespace ember
