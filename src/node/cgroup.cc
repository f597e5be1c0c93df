#include "node/cgroup.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace ember {
namespace {

constexpr const char* kWanted[] = {"memory", "pids", "cpu"};
// Of all directories of a group together, a millisecond each: ended processes leave it a little
// later, those that held much memory on a busy machine a second or more.
constexpr int kBriefRemovals = 10, kRemovals = 10'000;

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, by);) parts.push_back(part);
  return parts;
}

// The number behind a word at the beginning of a line.
std::int64_t counter(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  std::string word;
  for (std::int64_t value; file >> word >> value;) {
    if (word == name) return value;
  }
  return 0;
}

void end_processes(const std::string& directory) {
  std::ifstream file(directory + "/cgroup.procs");
  for (pid_t pid; file >> pid;) ::kill(pid, SIGKILL);
}

}  // namespace

Cgroups::Cgroups(NodeId node) : parent_("/ember/" + node.text()) {
  find_hierarchies();
  for (const char* controller : kWanted) try_controller(controller);
}

void Cgroups::find_hierarchies() {
  std::ifstream mounts("/proc/self/mounts");
  bool v1 = false, v2 = false;
  for (std::string line; std::getline(mounts, line);) {
    const auto fields = split(line, ' ');
    if (fields.size() < 4 || !fields[1].starts_with("/sys/fs/cgroup")) continue;
    if (fields[2] == "cgroup") {
      v1 = true;
      hierarchies_.push_back({fields[1], split(fields[3], ','), false});
    } else if (fields[2] == "cgroup2") {
      v2 = true;
      std::ifstream file(fields[1] + "/cgroup.controllers");
      Hierarchy hierarchy{fields[1], {}, true};
      for (std::string name; file >> name;) hierarchy.controllers.push_back(name);
      hierarchies_.push_back(std::move(hierarchy));
    }
  }
  hybrid_ = v1 && v2;
}

void Cgroups::try_controller(const std::string& controller) {
  const auto found =
      std::find_if(hierarchies_.begin(), hierarchies_.end(), [&](const Hierarchy& one) {
        return std::find(one.controllers.begin(), one.controllers.end(), controller) !=
               one.controllers.end();
      });
  const std::string limit = controller == "pids"  ? "process"
                            : controller == "cpu" ? "CPU"
                                                  : "memory";
  if (found == hierarchies_.end()) {
    missing_.push_back(limit + " limit: this machine has no cgroup controller \"" + controller +
                       "\"");
    return;
  }
  if (hybrid_ && found->v2) {
    missing_.push_back(limit +
                       " limit: its controller is in the v2 half of a hybrid cgroup layout");
    return;
  }
  if (const std::string why = enable(*found, controller); !why.empty()) {
    missing_.push_back(limit + " limit: " + why);
    return;
  }
  limits_.push_back(controller);
  std::error_code error;
  if (controller == "memory") {
    const char* file = found->v2 ? "/memory.swap.max" : "/memory.memsw.limit_in_bytes";
    limits_swap_ = std::filesystem::exists(found->mount + parent_ + file, error);
  }
}

// In v2 a group has the controllers that every group above it passes on.
std::string Cgroups::enable(const Hierarchy& hierarchy, const std::string& controller) const {
  std::error_code error;
  std::filesystem::create_directories(hierarchy.mount + parent_, error);
  if (error) return "cannot make a cgroup in " + hierarchy.mount + ": " + error.message();
  if (!hierarchy.v2) return "";
  const std::string node = hierarchy.mount + parent_;
  for (const std::string& above : {hierarchy.mount, hierarchy.mount + "/ember", node}) {
    std::ofstream file(above + "/cgroup.subtree_control");
    if (!(file << "+" << controller << std::flush)) {
      return "the controller \"" + controller + "\" cannot be passed on by " + above;
    }
  }
  return "";
}

void Cgroups::give_up(const std::string& cause) {
  limits_.clear();
  missing_ = {"memory, CPU and process limits: " + cause};
}

bool Cgroups::has(const std::string& controller) const {
  return std::find(limits_.begin(), limits_.end(), controller) != limits_.end();
}

std::string Cgroups::path_of(ContainerId container) const {
  return parent_ + "/" + container.text();
}

bool Cgroups::ran_out_of_memory(ContainerId container) const {
  for (const Hierarchy& one : hierarchies_) {
    const std::string directory = one.mount + path_of(container);
    const std::string file = one.v2 ? "/memory.events" : "/memory.oom_control";
    if (counter(directory + file, "oom_kill") > 0) return true;
  }
  return false;
}

bool Cgroups::has_process(ContainerId container, pid_t process) const {
  for (const Hierarchy& one : hierarchies_) {
    std::ifstream file(one.mount + path_of(container) + "/cgroup.procs");
    for (pid_t pid; file >> pid;) {
      if (pid == process) return true;
    }
  }
  return false;
}

bool Cgroups::join(ContainerId container) const {
  for (const Hierarchy& one : hierarchies_) {
    std::ofstream file(one.mount + path_of(container) + "/cgroup.procs");
    if (file.is_open() && !(file << "0" << std::flush)) return false;
  }
  return true;
}

bool Cgroups::remove(ContainerId container, Patience patience) const {
  int left = patience == Patience::brief ? kBriefRemovals : kRemovals;
  for (const Hierarchy& one : hierarchies_) {
    const std::string directory = one.mount + path_of(container);
    while (::rmdir(directory.c_str()) != 0 && errno == EBUSY) {
      if (left-- == 0) return false;
      end_processes(directory);
      ::usleep(1000);
    }
  }
  return true;
}

void Cgroups::remove_parents() const {
  for (const Hierarchy& one : hierarchies_) {
    ::rmdir((one.mount + parent_).c_str());
    ::rmdir((one.mount + "/ember").c_str());
  }
}

PreparationStep hide_v2_beside_v1() {
  return {"hide the v2 half of the cgroup layout",
          [] { return ::mount("ember", "/sys/fs/cgroup/unified", "tmpfs", 0, nullptr) == 0; }};
}

}  // namespace ember
