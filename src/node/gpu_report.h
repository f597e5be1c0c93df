// The GPUs of this machine as Ember sees them, for people and for comparison: `emberd devices`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "node/nvml.h"

namespace ember {

struct GpuReport {
  struct Entry {
    Gpu gpu;
    std::string type;  // canonical
    GpuReadings readings;
  };
  std::string driver_version;  // empty: no NVIDIA driver here
  std::vector<Entry> entries;
  std::vector<std::string> troubles;  // what could not be read, one line each
};

// A machine without the library has no devices and no trouble.
GpuReport make_gpu_report(const std::string& library = "libnvidia-ml.so.1");
std::string to_json(const GpuReport& report);
// A line for each device and each trouble.
std::string to_text(const GpuReport& report);

}  // namespace ember
