// What of the driver reaches a container beside its devices: device nodes, libraries and variables,
// in the manner of a CDI description (container device interface). It is made here, of this
// machine's driver alone, and holds no hooks: nothing of an image runs with the node's privileges.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "node/gpu_nodes.h"
#include "node/nvml.h"

namespace ember {

// Where a container finds the driver's libraries that are not in its /usr.
inline constexpr const char* kDriverDirectory = "/ember/driver";

struct DriverLibrary {
  std::string name;       // "libcuda.so.1"
  std::string host_path;  // the file itself, no link
};

struct GpuGrant {
  std::vector<DeviceNode> nodes;
  std::vector<DriverLibrary> libraries;
  std::string uuids;  // "GPU-...,GPU-...": what NVIDIA's own variables name
};

// The libraries of that driver beside `library` (libnvidia-ml.so.1); none where they lie below
// /usr, which every container has.
std::vector<DriverLibrary> find_driver_libraries(const std::string& library,
                                                 const std::string& driver_version);

// The granted devices' own nodes and the two that all share; no other. unavailable: one of them is
// not there, with what to do. None of any for no devices.
Result<GpuGrant> grant_gpus(const std::vector<Gpu>& gpus, std::vector<DriverLibrary> libraries,
                            const std::string& dev_directory = "/dev");

}  // namespace ember
