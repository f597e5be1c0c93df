#include "node/gpu_grant.h"

#include <algorithm>
#include <filesystem>

namespace ember {
namespace {

namespace fs = std::filesystem;

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
  auto nodes = find_gpu_nodes(gpus, dev_directory);
  if (!nodes.ok()) return std::move(nodes).error();
  grant.nodes = std::move(*nodes);
  for (const Gpu& gpu : gpus) grant.uuids += (grant.uuids.empty() ? "" : ",") + gpu.uuid;
  grant.libraries = std::move(libraries);
  return grant;
}

}  // namespace ember
