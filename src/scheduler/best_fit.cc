#include "scheduler/best_fit.h"

#include "base/assert.h"

namespace ember {

std::optional<Score> best_fit_score(const FleetNode& node, const GpuChoice* choice) {
  if (!choice) return Score{node.free_devices(), node.id};
  const std::uint32_t free = node.free_devices(choice->type);
  if (free < choice->count) return std::nullopt;
  return Score{free - choice->count, node.id};
}

std::vector<DeviceId> pick_devices(const FleetNode& node, const GpuChoice& choice) {
  std::vector<DeviceId> picked;
  picked.reserve(choice.count);
  for (const Device& device : node.capacity.devices) {
    if (picked.size() == choice.count) break;
    if (device.type == choice.type && node.is_free(device)) picked.push_back(device.id);
  }
  EMBER_ASSERT(picked.size() == choice.count);
  return picked;
}

}  // namespace ember
