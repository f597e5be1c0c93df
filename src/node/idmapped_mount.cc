#include "node/idmapped_mount.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace ember {
namespace {

// glibc 2.36 declares these beside types of its own that <linux/mount.h> has too.
int open_detached(int directory) {
  return static_cast<int>(
      ::syscall(SYS_open_tree, directory, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
}
int set_attributes(int mount, mount_attr& attributes) {
  return static_cast<int>(
      ::syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)));
}

Error failed(const std::string& what) {
  return {ErrorCode::unavailable, what + ": " + std::strerror(errno)};
}

bool write_map(pid_t process, const char* name, const std::string& map) {
  const std::string path = "/proc/" + std::to_string(process) + "/" + name;
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), map.data(), map.size()) == static_cast<ssize_t>(map.size());
}

// A child that is in a new user namespace and does nothing.
pid_t fork_into_user_namespace() {
  return static_cast<pid_t>(
      ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
}

}  // namespace

Result<int> IdMaps::of(const Range& range) {
  if (const auto found = made_.find(range); found != made_.end()) return found->second.get();
  const pid_t child = fork_into_user_namespace();
  if (child == 0) {
    for (;;) ::pause();
  }
  if (child < 0) return failed("a user namespace");
  const std::string map = std::to_string(range.on_disk) + " " + std::to_string(range.seen_as) +
                          " " + std::to_string(range.count) + "\n";
  const bool mapped = write_map(child, "uid_map", map) && write_map(child, "gid_map", map);
  const int why = errno;
  UniqueFd made(
      ::open(("/proc/" + std::to_string(child) + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  errno = why;
  if (!mapped) return failed("map users");
  if (!made) return failed("open a user namespace");
  return (made_[range] = std::move(made)).get();
}

Result<> shift_owners(int mount, int user_namespace, MountAccess access) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID;
  if (access == MountAccess::read_only) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  attributes.userns_fd = static_cast<std::uint64_t>(user_namespace);
  if (set_attributes(mount, attributes) != 0) return failed("map the owners of a mount");
  return Ok{};
}

Result<UniqueFd> idmapped_mount(int directory, int user_namespace, MountAccess access) {
  UniqueFd mount(open_detached(directory));
  if (!mount) return failed("clone a mount");
  auto shifted = shift_owners(mount.get(), user_namespace, access);
  if (!shifted.ok()) return std::move(shifted).error();
  return mount;
}

}  // namespace ember
