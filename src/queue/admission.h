// Whether one more input may wait in a queue with a limit.
#pragma once

#include <cstdint>

namespace ember {

struct QueueUse {
  std::uint32_t limit = 0;
  std::uint32_t waiting = 0;  // of all callers
  std::uint32_t own = 0;      // of the one who asks
  std::uint32_t callers = 0;  // who have something waiting
};

// Below the limit everybody is admitted. At it a caller still is until it has its equal share of
// the limit: who filled the queue first locks nobody out. So one caller never has more than the
// limit waiting, and n together at most the limit times 1 + 1/2 + ... + 1/n.
constexpr bool admits(const QueueUse& use) {
  if (use.waiting < use.limit) return true;
  const std::uint32_t callers = use.callers + (use.own == 0 ? 1 : 0);
  return use.own < use.limit / callers;
}

}  // namespace ember
