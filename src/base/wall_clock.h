// The machine's own clock. It may be set back; control/clock.h is for what must not. Not for the
// pure folders: tidy refuses it there.
#pragma once

#include <chrono>

#include "base/time.h"

namespace ember {

inline Time wall_clock() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<std::chrono::microseconds>(since_epoch).count()};
}

}  // namespace ember
