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
  for (const Device& device : devices) held_[device.id].vram_bytes = device.vram_bytes;
}

Result<> DeviceLeases::check(DeviceId device, const Held& held, const Hold& wanted) {
  std::int64_t left_bytes = held.vram_bytes;
  for (const Hold& hold : held.holds) {
    if (hold.container == wanted.container) continue;
    left_bytes -= hold.share_bytes;
    if (hold.share_bytes > 0 && wanted.share_bytes > 0) continue;
    return {ErrorCode::conflict,
            "device " + device.text() + " is held by " + hold.container.text()};
  }
  if (wanted.share_bytes <= left_bytes) return Ok{};
  return {ErrorCode::resource_exhausted, "device " + device.text() + " has " +
                                             vram_text(std::max<std::int64_t>(left_bytes, 0)) +
                                             " left, not " + vram_text(wanted.share_bytes)};
}

Result<> DeviceLeases::take(ContainerId container, const std::vector<DeviceId>& devices,
                            std::int64_t share_bytes) {
  const Hold wanted{container, share_bytes};
  if (share_bytes < 0 || (share_bytes > 0 && devices.size() != 1)) {
    return {ErrorCode::invalid_argument, "a share is of one device"};
  }
  for (const DeviceId device : devices) {
    const auto found = held_.find(device);
    if (found == held_.end()) {
      return {ErrorCode::not_found, "this node has no device " + device.text()};
    }
    if (auto fits = check(device, found->second, wanted); !fits.ok()) return fits;
  }
  give_back(container);
  for (const DeviceId device : devices) held_[device].holds.push_back(wanted);
  return Ok{};
}

const std::vector<DeviceLeases::Hold>& DeviceLeases::holds(DeviceId device) const {
  static const std::vector<Hold> kNone;
  const auto found = held_.find(device);
  return found == held_.end() ? kNone : found->second.holds;
}

void DeviceLeases::give_back(ContainerId container) {
  for (auto& [device, held] : held_) {
    std::erase_if(held.holds, [&](const Hold& hold) { return hold.container == container; });
  }
}

}  // namespace ember
