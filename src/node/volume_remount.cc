#include "node/volume_remount.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "node/stage.h"
#include "node/unique_fd.h"

namespace ember {
namespace {

// What the steps hand on, in the child.
struct Remount {
  std::string staged, path;
  pid_t init = 0;
  UniqueFd tree, mounts;
};

bool take_up(Remount& remount) {
  const std::string ns = "/proc/" + std::to_string(remount.init) + "/ns/mnt";
  remount.mounts = UniqueFd(::open(ns.c_str(), O_RDONLY | O_CLOEXEC));
  if (!remount.mounts) return false;
  remount.tree = UniqueFd(
      ::open_tree(AT_FDCWD, Stage::path(remount.staged).c_str(), OPEN_TREE_CLONE | O_CLOEXEC));
  return static_cast<bool>(remount.tree);
}

// The container may have put links in the way; none is followed.
bool enter_parent(const Remount& remount) {
  if (::setns(remount.mounts.get(), CLONE_NEWNS) != 0) return false;
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const std::string parent = remount.path.substr(0, remount.path.rfind('/') + 1);
  const UniqueFd directory(
      static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, parent.c_str(), &how, sizeof(how))));
  return directory && ::fchdir(directory.get()) == 0;
}

bool replace(const Remount& remount) {
  const std::string name = remount.path.substr(remount.path.rfind('/') + 1);
  if (::umount2(name.c_str(), UMOUNT_NOFOLLOW) != 0) {
    if (errno == EBUSY) ::_exit(kVolumeBusy);
    return false;
  }
  if (::move_mount(remount.tree.get(), "", AT_FDCWD, name.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return false;
  }
  ::_exit(kRemounted);
}

}  // namespace

std::vector<PreparationStep> remount_steps(pid_t init, std::string staged, std::string path) {
  // Shared by the steps.
  const auto remount = std::make_shared<Remount>();
  remount->staged = std::move(staged);
  remount->path = std::move(path);
  remount->init = init;
  return {{"take the volume up", [remount] { return take_up(*remount); }},
          {"enter the container", [remount] { return enter_parent(*remount); }},
          {"put the volume in its place", [remount] { return replace(*remount); }}};
}

}  // namespace ember
