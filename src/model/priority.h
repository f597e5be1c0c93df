// Which of a pool's waiting inputs goes first: a higher one before all lower ones, whoever they are
// of. It neither hastens nor stops what runs, and says nothing between pools.
#pragma once

#include <compare>
#include <cstdint>

namespace ember {

inline constexpr std::int64_t kLowestPriority = -10, kHighestPriority = 10;

struct Priority {
  std::int8_t value = 0;
  friend constexpr auto operator<=>(Priority, Priority) = default;
};

constexpr bool is_priority(std::int64_t value) {
  return value >= kLowestPriority && value <= kHighestPriority;
}

}  // namespace ember
