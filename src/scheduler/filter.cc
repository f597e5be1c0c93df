#include "scheduler/filter.h"

#include <algorithm>

namespace ember {
namespace {

// Others' processes end and sick devices are mended; a division by MIG is somebody's will.
bool has_devices(const NodeCapacity& capacity, const GpuDemand& demand, const GpuChoice& choice) {
  const std::int64_t least_bytes = std::max(demand.share_bytes, demand.least_vram_bytes);
  const auto count =
      std::count_if(capacity.devices.begin(), capacity.devices.end(), [&](const Device& d) {
        return d.type == choice.type && d.state != DeviceState::mig && d.vram_bytes >= least_bytes;
      });
  return count >= static_cast<std::ptrdiff_t>(choice.count);
}

}  // namespace

bool has_room(const FleetNode& node, const Resources& resources) {
  return node.cpu_millicores_free >= resources.cpu_millicores &&
         node.memory_bytes_free >= resources.memory_bytes;
}

bool accepts(const GpuDemand& demand, const Device& device) {
  return device.vram_bytes >= std::max(demand.share_bytes, demand.least_vram_bytes) &&
         std::ranges::any_of(demand.choices,
                             [&](const GpuChoice& choice) { return choice.type == device.type; });
}

bool could_hold(const FleetNode& node, const Resources& resources) {
  const NodeCapacity& capacity = node.capacity;
  if (capacity.cpu_millicores < resources.cpu_millicores) return false;
  if (capacity.memory_bytes < resources.memory_bytes) return false;
  if (resources.gpu.empty()) return true;
  const auto& choices = resources.gpu.choices;
  return std::any_of(choices.begin(), choices.end(), [&](const GpuChoice& choice) {
    return has_devices(capacity, resources.gpu, choice);
  });
}

bool could_ever_place(const Fleet& fleet, const Resources& resources) {
  const auto nodes = fleet.nodes();
  return std::any_of(nodes.begin(), nodes.end(),
                     [&](const FleetNode& node) { return could_hold(node, resources); });
}

}  // namespace ember
