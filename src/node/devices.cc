#include "node/devices.h"

#include <algorithm>

#include "base/random.h"

namespace ember {
namespace {

constexpr std::size_t kMaxSimulated = 1024;

Result<std::pair<const GpuType*, std::size_t>> parse_entry(std::string_view entry) {
  const auto colon = entry.find(':');
  const std::string name(entry.substr(0, colon));
  std::size_t count = 1;
  if (colon != std::string_view::npos) {
    const std::string digits(entry.substr(colon + 1));
    const bool number =
        !digits.empty() && digits.size() <= 4 &&
        std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
    count = number ? static_cast<std::size_t>(std::stoul(digits)) : 0;
  }
  const GpuType* type = find_gpu_type(name);
  if (type != nullptr && count > 0) return std::pair{type, count};
  std::string known;
  for (const GpuType& one : gpu_types())
    known += (known.empty() ? "" : ", ") + std::string(one.name);
  return {ErrorCode::invalid_argument, "simulated GPUs are written TYPE:COUNT, not \"" +
                                           std::string(entry) + "\"; types: " + known};
}

}  // namespace

Result<std::vector<Device>> simulated_devices(std::string_view text, NodeId node) {
  std::vector<Device> devices;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    auto entry = parse_entry(text.substr(0, comma));
    if (!entry.ok()) return std::move(entry).error();
    text.remove_prefix(std::min(comma + 1, text.size()));
    const auto [type, count] = *entry;
    for (std::size_t i = 0; i < count; ++i) {
      // An id of its own from the node's and the place: the same after each restart.
      Random random(node.value + devices.size() * 0x9E3779B97F4A7C15ull);
      devices.push_back({.id = DeviceId{random.next() | 1},
                         .type = std::string(type->name),
                         .vram_bytes = type->vram_bytes,
                         .simulated = true});
    }
    if (devices.size() > kMaxSimulated) {
      return {ErrorCode::invalid_argument, "at most 1024 simulated GPUs"};
    }
  }
  std::sort(devices.begin(), devices.end(),
            [](const Device& a, const Device& b) { return a.id < b.id; });
  return devices;
}

DeviceLeases::DeviceLeases(const std::vector<Device>& devices) {
  for (const Device& device : devices) holder_[device.id] = ContainerId{};
}

Result<> DeviceLeases::take(ContainerId container, const std::vector<DeviceId>& devices) {
  for (const DeviceId device : devices) {
    const auto found = holder_.find(device);
    if (found == holder_.end()) {
      return {ErrorCode::not_found, "this node has no device " + device.text()};
    }
    if (found->second && found->second != container) {
      return {ErrorCode::conflict,
              "device " + device.text() + " is held by " + found->second.text()};
    }
  }
  for (const DeviceId device : devices) holder_[device] = container;
  return Ok{};
}

ContainerId DeviceLeases::holder(DeviceId device) const {
  const auto found = holder_.find(device);
  return found == holder_.end() ? ContainerId{} : found->second;
}

void DeviceLeases::give_back(ContainerId container) {
  for (auto& [device, holder] : holder_) {
    if (holder == container) holder = ContainerId{};
  }
}

}  // namespace ember
