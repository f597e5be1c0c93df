#include "node/stage.h"

#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "node/ephemeral_disk.h"

namespace ember {
namespace {

bool make_mount_point(const std::string& path, bool directory) {
  if (directory) return ::mkdir(path.c_str(), 0755) == 0;
  return static_cast<bool>(UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)));
}

bool make_owned(const std::string& directory, uid_t owner) {
  return ::mkdir(directory.c_str(), 0755) == 0 && ::chown(directory.c_str(), owner, owner) == 0;
}

bool mount_overlay(const StagedOverlay& overlay) {
  std::string options = "lowerdir=";
  for (auto lower = overlay.lowers.rbegin(); lower != overlay.lowers.rend(); ++lower) {
    options += (lower == overlay.lowers.rbegin() ? "" : ":") + Stage::path(*lower);
  }
  if (!overlay.upper.empty()) {
    const std::string upper = Stage::path(overlay.upper) + "/";
    options += ",upperdir=" + upper + kOverlayFiles + ",workdir=" + upper + kOverlayWork;
  }
  if (!overlay.options.empty()) options += "," + overlay.options;
  return ::mount("ember", Stage::path(overlay.name).c_str(), "overlay", MS_NOSUID | MS_NODEV,
                 options.c_str()) == 0;
}

}  // namespace

void Stage::add(std::string name, std::string host_path) {
  entries_.push_back({std::move(name), std::move(host_path)});
}

void Stage::add_open_directory(std::string name, UniqueFd directory) {
  directories_.push_back({std::move(name), std::move(directory)});
}

void Stage::add_idmapped(std::string name, std::string host_path, int user_namespace,
                         MountAccess access) {
  idmapped_.push_back({std::move(name), std::move(host_path), user_namespace, access, {}});
}

void Stage::add_idmapped(std::string name, UniqueFd directory, int user_namespace,
                         MountAccess access) {
  idmapped_.push_back({std::move(name), {}, user_namespace, access, std::move(directory)});
}

void Stage::add_directories(std::string name, std::vector<std::string> paths) {
  made_.push_back({std::move(name), std::move(paths)});
}

void Stage::add_upper_in_memory(std::string name, std::int64_t bytes, std::uint32_t first_id) {
  uppers_.push_back({std::move(name), bytes, first_id});
}

void Stage::add_disk(std::string name, UniqueFd disk, int user_namespace) {
  disks_.push_back({std::move(name), std::move(disk), user_namespace});
}

void Stage::add_overlay(StagedOverlay overlay) { overlays_.push_back(std::move(overlay)); }

std::vector<PreparationStep> Stage::steps() const {
  return {{"clone the directories' mounts", [this] { return clone_trees() && clone_idmapped(); }},
          {"mount the disk", [this] { return mount_disks(); }},
          {"begin a mount namespace", [] { return ::unshare(CLONE_NEWNS) == 0; }},
          {"keep mounts apart",
           [] { return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0; }},
          {"set the stage", [this] { return bind_entries(); }},
          {"attach the directories", [this] { return attach_trees(); }},
          {"make places to mount at", [this] { return make_directories(); }},
          {"make room to write", [this] { return make_uppers(); }},
          {"lay the directories over each other", [this] { return mount_overlays(); }}};
}

// A mount can be cloned in its own namespace alone, so before the new one begins.
bool Stage::clone_trees() const {
  for (const OpenDirectory& open : directories_) {
    trees_.push_back(
        {open.name, UniqueFd(::open_tree(open.directory.get(), "",
                                         OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH))});
    if (!trees_.back().mount) return false;
  }
  return true;
}

bool Stage::clone_idmapped() const {
  for (const IdmappedDirectory& one : idmapped_) {
    UniqueFd opened;
    if (!one.directory) {
      opened = UniqueFd(::open(one.host_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!opened) return false;
    }
    const int directory = one.directory ? one.directory.get() : opened.get();
    auto mount = idmapped_mount(directory, one.user_namespace, one.access);
    if (!mount.ok()) return false;
    trees_.push_back({one.name, std::move(*mount)});
  }
  return true;
}

bool Stage::mount_disks() const {
  for (const Disk& disk : disks_) {
    auto mount = mount_ephemeral_disk(disk.file.get(), disk.user_namespace);
    if (!mount.ok()) return false;
    trees_.push_back({disk.name, std::move(*mount)});
  }
  return true;
}

bool Stage::attach_trees() const {
  for (const Tree& tree : trees_) {
    const std::string place = path(tree.name);
    if (!make_mount_point(place, true) ||
        ::move_mount(tree.mount.get(), "", AT_FDCWD, place.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
      return false;
    }
  }
  return true;
}

bool Stage::make_directories() const {
  for (const Directories& one : made_) {
    const std::string root = path(one.name) + "/";
    if (!make_mount_point(path(one.name), true)) return false;
    for (const std::string& below : one.paths) {
      for (auto slash = below.find('/'); slash != std::string::npos;
           slash = below.find('/', slash + 1)) {
        if (::mkdir((root + below.substr(0, slash)).c_str(), 0755) != 0 && errno != EEXIST) {
          return false;
        }
      }
      if (::mkdir((root + below).c_str(), 0755) != 0 && errno != EEXIST) return false;
    }
  }
  return true;
}

bool Stage::make_uppers() const {
  for (const UpperInMemory& upper : uppers_) {
    const std::string place = path(upper.name), id = std::to_string(upper.first_id);
    const std::string options =
        "mode=0755,size=" + std::to_string(upper.bytes) + ",uid=" + id + ",gid=" + id;
    if (!make_mount_point(place, true) ||
        ::mount("ember", place.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0 ||
        !make_owned(place + "/" + kOverlayFiles, upper.first_id) ||
        !make_owned(place + "/" + kOverlayWork, upper.first_id)) {
      return false;
    }
  }
  return true;
}

// What the file system itself makes in the upper directory is made as whoever mounts it. That must
// be a user whom the shifted owners can express, and who keeps the privileges that mounting takes.
bool Stage::mount_overlays() const {
  if (overlays_.empty()) return true;
  if (::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) != 0) return false;
  for (const StagedOverlay& overlay : overlays_) {
    if (!make_mount_point(path(overlay.name), true) || ::setegid(overlay.first_id) != 0 ||
        ::seteuid(overlay.first_id) != 0 || !mount_overlay(overlay) || ::seteuid(0) != 0 ||
        ::setegid(0) != 0) {
      return false;
    }
  }
  return ::prctl(PR_SET_SECUREBITS, 0) == 0;
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

std::vector<PreparationStep> kept_by(std::shared_ptr<const Stage> stage,
                                     std::vector<PreparationStep> steps) {
  for (PreparationStep& step : steps) {
    step.run = [stage, inner = std::move(step.run)] { return inner(); };
  }
  return steps;
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
