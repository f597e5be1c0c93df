// How far a call has come, in the words of its function: what a runner says of it, checked, and as
// documents show it.
#pragma once

#include <string>
#include <string_view>

#include "control/call_table.h"
#include "control/json.h"

namespace ember {

inline constexpr std::size_t kMaxProgressBytes = 8u << 10;

// Of a Progress frame's body: {"step", "total", "metrics"} with the time; numbers or nothing.
Result<std::string> progress_text(std::string_view body, Time now);
// Null where there is none.
JsonValue to_json(const CallProgress& progress);

}  // namespace ember
