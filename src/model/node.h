// What a node has to give.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/ids.h"

namespace ember {

struct Device {
  DeviceId id;
  std::string type;  // canonical GPU type
  std::int64_t vram_bytes = 0;
  bool simulated = false;
};

struct NodeCapacity {
  std::int64_t cpu_millicores = 0;
  std::int64_t memory_bytes = 0;
  std::vector<Device> devices;  // by id
};

}  // namespace ember
