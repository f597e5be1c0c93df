#include "control/fleet.h"

#include <algorithm>

#include "model/gpu.h"

namespace ember {

void NodeFleet::connected(NodeHello hello) {
  hello_ = std::move(hello);
  connected_ = true;
}

const Device* NodeFleet::find_device(DeviceId id) const {
  const auto& devices = hello_.capacity.devices;
  const auto found = std::ranges::find(devices, id, &Device::id);
  return found == devices.end() ? nullptr : &*found;
}

bool NodeFleet::has_simulated_gpus() const {
  return std::ranges::any_of(hello_.capacity.devices, &Device::simulated);
}

std::string NodeFleet::gpus_text() const {
  std::map<std::string, int> counts;
  for (const Device& device : hello_.capacity.devices) {
    ++counts[device.type + (device.simulated ? " (simulated)" : "")];
  }
  std::string text;
  for (const auto& [type, count] : counts) {
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " x " + type;
  }
  return text.empty() ? "no GPU" : text;
}

std::string NodeFleet::vram_text() const {
  std::map<std::string, std::int64_t> most;
  for (const Device& device : hello_.capacity.devices) {
    most[device.type] = std::max(most[device.type], device.vram_bytes);
  }
  std::string text;
  for (const auto& [type, bytes] : most) {
    text += (text.empty() ? "" : ", ") + type + " has " + ember::vram_text(bytes);
  }
  return text.empty() ? "none has memory" : text;
}

}  // namespace ember
