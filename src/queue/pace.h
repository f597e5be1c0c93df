// How fast a pool gets through its inputs, to tell a refused caller when to come back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/time.h"

namespace ember {

class Pace {
 public:
  // An input that was dispatched at `dispatched` has ended now. A pool that had nothing to do was
  // not slow: the time since the end before counts no more than this input's own.
  void ended(Time dispatched, Time now) {
    const std::int64_t gap_us = std::min((now - last_).us, (now - dispatched).us);
    gap_us_x32_ = known_ ? gap_us_x32_ + gap_us - gap_us_x32_ / 32 : gap_us * 32;
    last_ = now;
    known_ = true;
  }
  // How long so many more take at the pace of the last ones; nothing before the first end.
  std::optional<Duration> time_for(std::uint32_t inputs) const {
    if (!known_) return std::nullopt;
    return Duration{gap_us_x32_ * inputs / 32};
  }
  // For the hash.
  std::int64_t gap_us_x32() const { return gap_us_x32_; }
  Time last() const { return last_; }

 private:
  Time last_;
  std::int64_t gap_us_x32_ = 0;  // a moving average over about the last 32
  bool known_ = false;
};

}  // namespace ember
