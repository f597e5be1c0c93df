// Something is due at a time; at equal times the lower id comes first. Deadlines are kept lazily:
// one that moves later is left where it is and put right when it comes up, so that a warm call
// does not touch the heap.
#pragma once

#include <compare>
#include <cstdint>

#include "base/time.h"

namespace ember {

struct Deadline {
  Time at;
  std::uint64_t id = 0;
  friend auto operator<=>(const Deadline&, const Deadline&) = default;
};

}  // namespace ember
