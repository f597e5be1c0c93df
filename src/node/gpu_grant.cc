#include "node/gpu_grant.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>

namespace ember {
namespace {

namespace fs = std::filesystem;

// Control, and unified memory without which CUDA does not start. Not nvidia-modeset (screens) and
// not nvidia-caps (dividing devices by MIG).
constexpr const char* kSharedNodes[] = {"nvidiactl", "nvidia-uvm"};

Result<DeviceNode> find_node(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0 || !S_ISCHR(status.st_mode)) {
    return {ErrorCode::unavailable,
            path + " is not there; run nvidia-modprobe -u -c 0 on this machine, as root"};
  }
  return DeviceNode{path, major(status.st_rdev), minor(status.st_rdev)};
}

bool is_driver_library(const std::string& name) {
  return (name.starts_with("libcuda") || name.starts_with("libnvidia-")) &&
         name.find(".so.") != std::string::npos;
}

}  // namespace

std::vector<DriverLibrary> find_driver_libraries(const std::string& library,
                                                 const std::string& driver_version) {
  std::vector<DriverLibrary> libraries;
  std::error_code error;
  const fs::path directory = fs::canonical(library, error).parent_path();
  if (error || directory.string().starts_with("/usr/")) return libraries;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename();
    const fs::path file = fs::canonical(entry.path(), error);
    // Another driver's left-overs, or CUDA's own libraries, may lie beside.
    const bool of_driver = !error && file.filename().string().ends_with(".so." + driver_version);
    if (is_driver_library(name) && of_driver) libraries.push_back({name, file});
  }
  std::ranges::sort(libraries, {}, &DriverLibrary::name);
  return libraries;
}

Result<GpuGrant> grant_gpus(const std::vector<Gpu>& gpus, std::vector<DriverLibrary> libraries,
                            const std::string& dev_directory) {
  GpuGrant grant;
  if (gpus.empty()) return grant;
  std::vector<std::string> names(std::begin(kSharedNodes), std::end(kSharedNodes));
  for (const Gpu& gpu : gpus) {
    names.push_back("nvidia" + std::to_string(gpu.minor_number));
    grant.uuids += (grant.uuids.empty() ? "" : ",") + gpu.uuid;
  }
  for (const std::string& name : names) {
    auto node = find_node(dev_directory + "/" + name);
    if (!node.ok()) return std::move(node).error();
    grant.nodes.push_back(std::move(*node));
  }
  grant.libraries = std::move(libraries);
  return grant;
}

}  // namespace ember
