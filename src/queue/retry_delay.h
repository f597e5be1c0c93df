// How long an input waits before its next attempt, after one that failed by the function's own
// doing.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"
#include "model/function.h"

namespace ember {

// Never at once: an input that failed is looked at again by a timer.
inline constexpr Duration kShortestRetryDelay = Duration::milliseconds(1);

// initial_delay x coefficient^used, at most max_delay. `used` retries have been made before.
constexpr Duration retry_delay(const Retries& retries, std::uint32_t used) {
  const std::int64_t most = retries.max_delay.us;
  std::int64_t delay = std::min(retries.initial_delay.us, most);
  for (std::uint32_t i = 0; i < used && delay < most; ++i) {
    delay = std::min(delay * retries.backoff_permille / 1000, most);
  }
  return std::max(Duration{delay}, kShortestRetryDelay);
}

}  // namespace ember
