#include "sim/workload.h"

#include <bit>

namespace ember {
namespace {

// An exponential gap, so that arrivals are a Poisson process: -ln(u), with the logarithm of base
// two read off the bits and a straight line between powers, the same on every machine.
Duration exponential(Random& random, Duration mean) {
  const std::uint64_t u = random.next() | 1;
  const int zeros = std::countl_zero(u);
  const std::uint64_t mantissa = zeros == 63 ? 0 : u << (zeros + 1) >> 48;  // of 65536
  const std::int64_t log2_x65536 =
      (std::int64_t{zeros} + 1) * 65536 - static_cast<std::int64_t>(mantissa);
  return {mean.us / 1000 * log2_x65536 / 65536 * 693};
}

}  // namespace

Workload::Workload(Random& random, Random callers, Random priorities,
                   const std::vector<FunctionId>& functions)
    : random_(random), callers_(callers), priorities_(priorities) {
  for (const FunctionId function : functions) {
    Habit& habit = habits_[function];
    habit.mean_gap = Duration::milliseconds(random_.between(80, 3'000));
    if (!random_.chance(500)) continue;
    habit.burst = static_cast<std::uint32_t>(random_.between(5, 40));
    habit.bursting = 30;
  }
}

KeyId Workload::caller() { return {callers_.chance(600) ? 1 : callers_.below(4)}; }

Priority Workload::priority() {
  if (!priorities_.chance(200)) return {};
  return {static_cast<std::int8_t>(priorities_.between(-2, 2))};
}

Workload::Arrivals Workload::draw(FunctionId function) {
  const Habit& habit = habits_.at(function);
  Arrivals arrivals{1, exponential(random_, habit.mean_gap)};
  if (random_.chance(habit.bursting)) {
    arrivals.count = static_cast<std::uint32_t>(random_.between(2, habit.burst));
  }
  return arrivals;
}

}  // namespace ember
