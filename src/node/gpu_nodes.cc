#include "node/gpu_nodes.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iterator>

#include "node/process_table.h"
#include "node/uv.h"

namespace ember {
namespace {

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

}  // namespace

Result<std::vector<DeviceNode>> find_gpu_nodes(const std::vector<Gpu>& gpus,
                                               const std::string& dev_directory) {
  std::vector<std::string> names(std::begin(kSharedNodes), std::end(kSharedNodes));
  for (const Gpu& gpu : gpus) names.push_back("nvidia" + std::to_string(gpu.minor_number));
  std::vector<DeviceNode> nodes;
  for (const std::string& name : names) {
    auto node = find_node(dev_directory + "/" + name);
    if (!node.ok()) return std::move(node).error();
    nodes.push_back(std::move(*node));
  }
  return nodes;
}

void make_missing_gpu_nodes(const std::vector<Gpu>& gpus) {
  if (gpus.empty() || ::geteuid() != 0 || find_gpu_nodes(gpus).ok()) return;
  const auto program = find_program("nvidia-modprobe");
  if (!program) return;
  Command command;
  command.argv = {*program, "-u"};
  for (const Gpu& gpu : gpus) command.argv.push_back("-c=" + std::to_string(gpu.minor_number));
  command.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  if (const auto pid = spawn(command); pid.ok()) ::waitpid(*pid, nullptr, 0);
  spdlog::info("GPUs: device nodes were missing; nvidia-modprobe was run");
}

}  // namespace ember
