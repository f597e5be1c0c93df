// What a failed operation on a file is to those who asked for what needed it.
#pragma once

#include <string>

#include "base/result.h"

namespace ember {

// By errno. A disk that takes no writes (full, over a quota, read-only, broken) is storage_failed,
// and the message says what to do; all else is unavailable.
Error disk_error(const std::string& path, int error_number);

}  // namespace ember
