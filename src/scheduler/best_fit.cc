#include "scheduler/best_fit.h"

#include "base/assert.h"

namespace ember {
namespace {

bool suits(const Device& device, const WholeDevices& wanted) {
  return device.type == wanted.choice.type && device.vram_bytes >= wanted.least_vram_bytes;
}

}  // namespace

std::optional<Score> best_fit_score(const FleetNode& node, const WholeDevices& wanted) {
  std::int64_t free = 0;
  for (const Device& device : node.capacity.devices) {
    if (suits(device, wanted) && node.is_free(device)) ++free;
  }
  if (free < wanted.choice.count) return std::nullopt;
  return Score{.left = free - wanted.choice.count, .node = node.id, .device = {}};
}

std::vector<DeviceId> pick_devices(const FleetNode& node, const WholeDevices& wanted) {
  std::vector<DeviceId> picked;
  picked.reserve(wanted.choice.count);
  for (const Device& device : node.capacity.devices) {
    if (picked.size() == wanted.choice.count) break;
    if (suits(device, wanted) && node.is_free(device)) picked.push_back(device.id);
  }
  EMBER_ASSERT(picked.size() == wanted.choice.count);
  return picked;
}

}  // namespace ember
