#include "node/stage.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>

namespace ember {
namespace {

bool make_mount_point(const std::string& path, bool directory) {
  if (directory) return ::mkdir(path.c_str(), 0755) == 0;
  return static_cast<bool>(UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)));
}

}  // namespace

void Stage::add(std::string name, std::string host_path) {
  entries_.push_back({std::move(name), std::move(host_path)});
}

void Stage::add_open_directory(std::string name, UniqueFd directory) {
  directories_.push_back({std::move(name), std::move(directory)});
}

std::vector<PreparationStep> Stage::steps() const {
  return {{"clone the directories' mounts", [this] { return clone_trees(); }},
          {"begin a mount namespace", [] { return ::unshare(CLONE_NEWNS) == 0; }},
          {"keep mounts apart",
           [] { return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0; }},
          {"set the stage", [this] { return bind_entries(); }},
          {"attach the directories", [this] { return attach_trees(); }}};
}

// A mount can be cloned in its own namespace alone, so before the new one begins.
bool Stage::clone_trees() const {
  for (const OpenDirectory& open : directories_) {
    trees_.emplace_back(
        ::open_tree(open.directory.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
    if (!trees_.back()) return false;
  }
  return true;
}

bool Stage::attach_trees() const {
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    const std::string place = path(directories_[i].name);
    if (!make_mount_point(place, true) ||
        ::move_mount(trees_[i].get(), "", AT_FDCWD, place.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
      return false;
    }
  }
  return true;
}

bool Stage::bind_entries() const {
  // Opened before the stage covers its own place, which may be above one of them.
  std::vector<UniqueFd> opened;
  for (const Entry& entry : entries_) {
    opened.emplace_back(::open(entry.host_path.c_str(), O_PATH | O_CLOEXEC));
    if (!opened.back()) return false;
  }
  if (::mount("ember", kStageRoot, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m") != 0) {
    return false;
  }
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    struct stat status;
    const std::string place = path(entries_[i].name);
    const std::string from = "/proc/self/fd/" + std::to_string(opened[i].get());
    if (::fstat(opened[i].get(), &status) != 0 ||
        !make_mount_point(place, S_ISDIR(status.st_mode)) ||
        ::mount(from.c_str(), place.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
      return false;
    }
  }
  return true;
}

bool can_stage() {
  const pid_t child = ::fork();
  if (child == 0) {
    const Stage empty;
    for (const PreparationStep& step : empty.steps()) {
      if (!step.run()) ::_exit(1);
    }
    ::_exit(0);
  }
  int status = -1;
  return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
}

}  // namespace ember
