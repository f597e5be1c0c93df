#include "control/clock.h"

#include "base/wall_clock.h"

namespace ember {

Time SystemClock::now() {
  using std::chrono::duration_cast;
  using std::chrono::microseconds;
  const auto steady = std::chrono::steady_clock::now();
  const Time wall = wall_clock();
  const Duration passed{duration_cast<microseconds>(steady - last_steady_).count()};
  last_ = wall >= last_ ? wall : last_ + passed;
  last_steady_ = steady;
  return last_;
}

}  // namespace ember
