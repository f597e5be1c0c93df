// The policy for whole devices: take the node where the fewest devices are left over, so that large
// demands keep finding room; then the lowest id. Simulated and real devices are treated alike.
#pragma once

#include <optional>
#include <vector>

#include "model/gpu.h"
#include "scheduler/fleet.h"

namespace ember {

struct Score {
  std::uint32_t devices_left = 0;
  NodeId node;
  friend auto operator<=>(const Score&, const Score&) = default;  // least is best
};

// The score of taking `choice` (null: no device) on the node; nothing if it has too few free.
std::optional<Score> best_fit_score(const FleetNode& node, const GpuChoice* choice);

// The devices to take for the choice: free ones of the type, lowest ids first. The node has enough.
std::vector<DeviceId> pick_devices(const FleetNode& node, const GpuChoice& choice);

}  // namespace ember
