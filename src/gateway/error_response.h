// Errors as HTTP sees them: the one place where an ErrorCode becomes a status.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "control/control.h"
#include "gateway/http.h"

namespace ember {

int status_of(ErrorCode code);

// {"error": {"code", "message"}} with the status of its code.
Response error_response(const Error& error);
// The same with a status of the edge's own (405, 408, 415, ...).
Response error_response(int status, const Error& error);
// A call that was not started: with what limit was reached and when to come back.
Response refusal_response(const CallFailure& refusal);
// A failed call: with its id, Retry-After where it helps, and the runner's error body embedded
// unread as "exception".
Response failure_response(const CallFailure& failure, const CallReport& report);

// What the gateway needs of a runner's error body. It comes out of a container, so it is looked at
// without trust: nothing if it is not one JSON object as far as brackets and strings go.
struct RunnerError {
  int status = 0;  // 0 if it has none
};
std::optional<RunnerError> scan_runner_error(std::string_view body);

// `text` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text);

}  // namespace ember
