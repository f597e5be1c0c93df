// The runner's error body, as far as control reads it: which error it is, in one line.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "control/control.h"
#include "engine/event.h"

namespace ember {

struct ErrorBody {
  ErrorCode code = ErrorCode::user_exception;
  InputOutcome outcome = InputOutcome::failed;
  int status = 0;       // of HTTP, 400 to 599, that an exception of user code asks for; 0: none
  std::string message;  // "ValueError: bad page"
  bool readable = true;
};

ErrorBody read_error_body(std::string_view json);
// The same, and whoever sent what is no error body gets one of ours in its place: the body goes
// into answers as it is, and must not spoil them.
ErrorBody mend_error_body(std::string& json);
// A failure as an error body, for a runner that called another function.
std::string to_error_body(const CallFailure& failure);

}  // namespace ember
