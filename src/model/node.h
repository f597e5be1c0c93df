// What a node has to give.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/ids.h"

namespace ember {

enum class DeviceState : std::uint8_t {
  available,
  in_use,       // by processes that are not ours: it is theirs until they end
  mig,          // divided by MIG, and left alone
  unreachable,  // programs cannot open it: its files in /dev are not there
  cordoned,     // sick: nothing new is placed on it, and what runs there moves
};
std::string_view device_state_name(DeviceState state);  // the word in the enum
std::optional<DeviceState> device_state_named(std::string_view name);

struct Device {
  DeviceId id;
  std::string type;  // canonical GPU type
  std::int64_t vram_bytes = 0;
  bool simulated = false;
  DeviceState state = DeviceState::available;
  std::string reason = "";  // why it is not available, one line for people
  std::string uuid = "";    // by which the driver's programs name it; empty for a simulated one
};

struct NodeCapacity {
  std::int64_t cpu_millicores = 0;
  std::int64_t memory_bytes = 0;
  std::vector<Device> devices;  // by id
};

}  // namespace ember
