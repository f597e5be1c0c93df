// Makes ids that sort by the time they were made: milliseconds since the epoch and a counter.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace ember {

class IdSource {
 public:
  std::uint64_t next(Time now) {
    last_ = std::max(last_ + 1, static_cast<std::uint64_t>(now.whole_ms()) << kCounterBits);
    return last_;
  }
  // When an id was made, to the millisecond; not after.
  static Time made_at(std::uint64_t id) {
    return Time::from_ms(static_cast<std::int64_t>(id >> kCounterBits));
  }

 private:
  static constexpr int kCounterBits = 20;
  std::uint64_t last_ = 0;
};

}  // namespace ember
