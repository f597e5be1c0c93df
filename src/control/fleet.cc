#include "control/fleet.h"

#include <algorithm>

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

}  // namespace ember
