// Errors as HTTP sees them: the one place where an ErrorCode becomes a status.
#pragma once

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
// unread as "exception": control has read it, and vouches that it is one JSON object.
Response failure_response(const CallFailure& failure, const CallReport& report);

// `text` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text);

}  // namespace ember
