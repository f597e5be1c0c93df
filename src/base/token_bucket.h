// A rate with a burst: units come at so many a second, and are kept up to the burst. Taking more
// than there are is a debt, which is paid as time passes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace ember {

struct TokenRate {
  std::int64_t burst = 0;
  std::int64_t per_second = 0;  // at least 1
};

class TokenBucket {
 public:
  explicit TokenBucket(TokenRate rate) : rate_(rate), units_(rate.burst) {}

  // Takes them, and gives how long it is until what there is to take is no debt any more.
  Duration take(std::int64_t units, Time now) {
    constexpr std::int64_t kSecond = 1'000'000;
    // A bucket is full long before this, whatever the rate; and nothing overflows.
    const std::int64_t passed_us = std::clamp<std::int64_t>((now - filled_).us, 0, 3600 * kSecond);
    const std::int64_t earned = rate_.per_second * passed_us / kSecond;
    if (earned > 0) {
      units_ = std::min(rate_.burst, units_ + earned);
      filled_ = now;
    }
    units_ -= units;
    return Duration{units_ >= 0 ? 0 : -units_ * kSecond / rate_.per_second + 1};
  }

 private:
  TokenRate rate_;
  std::int64_t units_;
  Time filled_;
};

}  // namespace ember
