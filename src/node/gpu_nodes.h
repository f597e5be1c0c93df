// The files of /dev by which programs reach the devices.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/nvml.h"

namespace ember {

struct DeviceNode {
  std::string path;  // the same inside and outside a container
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
};

// The devices' own nodes, after the two that all share. unavailable: one of them is not there, with
// what to do.
Result<std::vector<DeviceNode>> find_gpu_nodes(const std::vector<Gpu>& gpus,
                                               const std::string& dev_directory = "/dev");

// Lets the driver's own program, where it is installed, make those that are missing: on a machine
// without screens nothing else does before the first use. Waits for it. Takes root.
void make_missing_gpu_nodes(const std::vector<Gpu>& gpus);

}  // namespace ember
