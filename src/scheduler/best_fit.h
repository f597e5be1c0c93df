// The policy for whole devices: take the node where the fewest devices are left over, so that large
// demands keep finding room; then the lowest id. Simulated and real devices are treated alike.
#pragma once

#include <optional>
#include <vector>

#include "model/gpu.h"
#include "scheduler/fleet.h"
#include "scheduler/score.h"

namespace ember {

// So many devices of one type, each with at least so much memory.
struct WholeDevices {
  const GpuChoice& choice;
  std::int64_t least_vram_bytes = 0;
};

// The score of taking them on the node; nothing if it has too few free.
std::optional<Score> best_fit_score(const FleetNode& node, const WholeDevices& wanted);

// The devices to take: free ones of the type, lowest ids first. The node has enough.
std::vector<DeviceId> pick_devices(const FleetNode& node, const WholeDevices& wanted);

}  // namespace ember
