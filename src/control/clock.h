// The time that the live driver stamps on events.
#pragma once

#include <chrono>

#include "base/time.h"

namespace ember {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() = 0;  // never goes back
};

// The machine's clock. Where somebody sets it back, time goes on from where it was until the
// machine's clock has caught up, so that no deadline stands still and no duration is negative.
class SystemClock final : public Clock {
 public:
  Time now() override;

 private:
  Time last_;
  std::chrono::steady_clock::time_point last_steady_;
};

}  // namespace ember
