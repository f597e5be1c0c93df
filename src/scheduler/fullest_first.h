// The policy for shares of a device: fill the fullest one that has room, and open one that nobody
// shares only where no shared one has; so whole devices stay free for those who need them.
#pragma once

#include <optional>

#include "model/gpu.h"
#include "scheduler/apart.h"
#include "scheduler/fleet.h"
#include "scheduler/score.h"

namespace ember {

struct WantedShare {
  const GpuChoice& choice;
  std::int64_t share_bytes = 0;
  WorkspaceId workspace;
  Peers apart_from = {};
};

// The best device of the node for the share; nothing if none has room.
std::optional<Score> fullest_first_score(const FleetNode& node, const WantedShare& wanted);

}  // namespace ember
