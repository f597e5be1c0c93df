// After a failure, how long to leave the thing alone: the first wait doubles with each failure in a
// row, up to a limit. A success forgets them all.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace ember {

inline constexpr Duration kLongestBackoff = Duration::seconds(30);

class Backoff {
 public:
  // Counts one more failure and waits from `now` on.
  void fail(Time now, Duration first_wait) {
    Duration wait = first_wait;
    for (std::uint32_t i = 0; i < failures_ && wait < kLongestBackoff; ++i) wait = wait * 2;
    ++failures_;
    until_ = now + std::min(wait, kLongestBackoff);
  }
  void succeed() { *this = {}; }

  std::uint32_t failures() const { return failures_; }  // in a row
  Time until() const { return until_; }                 // zero if nothing has failed
  bool holds(Time now) const { return now < until_; }

 private:
  std::uint32_t failures_ = 0;
  Time until_;
};

}  // namespace ember
