#include "node/ephemeral_disk.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/disk_error.h"
#include "node/idmapped_mount.h"
#include "node/stage.h"
#include "node/uv.h"

namespace ember {
namespace {

constexpr const char* kLoopControl = "/dev/loop-control";
constexpr const char* kMakesFileSystems = "/usr/sbin/mkfs.ext4";
constexpr std::int64_t kLeftForOthersBytes = 256 << 20;
constexpr int kTriesForALoop = 100;  // others take free ones too
// No journal: nobody wants it back after a crash.
constexpr const char* kFeatures = "^has_journal,^resize_inode";
// What is not written yet reads as zeros already, so nothing needs to be written beforehand.
constexpr const char* kExtended = "lazy_itable_init=1,nodiscard";

Error failed(const std::string& what) {
  return {ErrorCode::unavailable, "an ephemeral disk: " + what + ": " + std::strerror(errno)};
}

// Asked before anything is taken: a taking that fails half way has filled the disk meanwhile.
Result<> check_room(const std::string& directory, std::int64_t bytes) {
  std::error_code error;
  const auto free = std::filesystem::space(directory, error).available;
  if (error) return disk_error(directory, error.value());
  const std::int64_t free_bytes = free > INT64_MAX ? INT64_MAX : static_cast<std::int64_t>(free);
  if (bytes <= free_bytes - kLeftForOthersBytes) return Ok{};
  return {ErrorCode::resource_exhausted, "an ephemeral disk of " + std::to_string(bytes >> 20) +
                                             " MiB does not fit: the node has " +
                                             std::to_string(free_bytes >> 20) + " MiB free"};
}

Result<> take_bytes(int file, const std::string& path, std::int64_t bytes) {
  if (::fallocate(file, 0, 0, bytes) == 0) return Ok{};
  // The file system takes no bytes beforehand: the disk is as large, but not promised.
  if (errno == EOPNOTSUPP && ::ftruncate(file, bytes) == 0) return Ok{};
  return disk_error(path, errno);
}

Command file_system_maker(int file) {
  Command command;
  command.argv = {kMakesFileSystems,
                  "-q",
                  "-F",
                  "-m",
                  "0",
                  "-O",
                  kFeatures,
                  "-E",
                  kExtended,
                  "/proc/self/fd/" + std::to_string(file)};
  command.inherited = {file};
  command.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  return command;
}

// The kernel lets it go with its last user.
Result<UniqueFd> loop_device(int file, std::string& path) {
  const UniqueFd control(::open(kLoopControl, O_RDWR | O_CLOEXEC));
  if (!control) return failed(kLoopControl);
  loop_config config{};
  config.fd = static_cast<std::uint32_t>(file);
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  for (int tries = 0; tries < kTriesForALoop; ++tries) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return failed("no loop device is free");
    path = "/dev/loop" + std::to_string(number);
    UniqueFd device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!device) return failed(path);
    if (::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) return device;
    if (errno != EBUSY) return failed(path);
  }
  return failed("no loop device stays free");
}

// 0: it has been set.
int set_option(int context, const char* name, const char* value) {
  return ::fsconfig(context, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, name, value, 0);
}

Result<UniqueFd> mount_device(const std::string& device) {
  const UniqueFd context(::fsopen("ext4", FSOPEN_CLOEXEC));
  if (!context || set_option(context.get(), "source", device.c_str()) != 0 ||
      set_option(context.get(), "noinit_itable", nullptr) != 0 ||
      ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return failed("mount " + device);
  }
  UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID));
  if (!mount) return failed("mount " + device);
  return mount;
}

bool make_at(int directory, const char* name, mode_t mode) {
  // The mode is set apart from mkdir, whose umask would narrow it.
  return ::mkdirat(directory, name, mode) == 0 && ::fchmodat(directory, name, mode, 0) == 0;
}

// Beside what an overlay needs, the places where programs expect to write.
bool make_directories(int disk) {
  if (!make_at(disk, kOverlayFiles, 0755) || !make_at(disk, kOverlayWork, 0755)) return false;
  const UniqueFd files(::openat(disk, kOverlayFiles, O_PATH | O_DIRECTORY | O_CLOEXEC));
  return files && make_at(files.get(), "tmp", 01777) && make_at(files.get(), "root", 0700);
}

}  // namespace

void make_ephemeral_disk(ProcessTable& processes, const std::string& directory, std::int64_t bytes,
                         std::function<void(Result<UniqueFd>)> done) {
  if (const std::string lacks = lacks_for_ephemeral_disks(); !lacks.empty()) {
    return done(Error{ErrorCode::unavailable, "an ephemeral disk: " + lacks});
  }
  if (auto room = check_room(directory, bytes); !room.ok()) return done(std::move(room).error());
  const std::string path = directory + "/disk";
  auto file =
      std::make_shared<UniqueFd>(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!*file) return done(disk_error(path, errno));
  ::unlink(path.c_str());
  if (auto taken = take_bytes(file->get(), path, bytes); !taken.ok()) {
    return done(std::move(taken).error());
  }
  const auto made = [file, done](ProcessEnd end) {
    if (end.exit_status == 0) return done(std::move(*file));
    done(Error{ErrorCode::unavailable, "an ephemeral disk: mkfs.ext4 failed"});
  };
  if (auto running = processes.run(file_system_maker(file->get()), made); !running.ok()) {
    done(std::move(running).error());
  }
}

Result<UniqueFd> mount_ephemeral_disk(int disk, int user_namespace) {
  std::string path;
  const auto device = loop_device(disk, path);
  if (!device.ok()) return device.error();
  auto mount = mount_device(path);
  if (!mount.ok()) return mount;
  if (!make_directories(mount->get())) return failed("make its directories");
  auto shifted = shift_owners(mount->get(), user_namespace, MountAccess::read_write);
  if (!shifted.ok()) return std::move(shifted).error();
  return mount;
}

std::string lacks_for_ephemeral_disks() {
  if (::access(kMakesFileSystems, X_OK) != 0)
    return "mkfs.ext4 is not installed: apt-get install e2fsprogs";
  if (::access(kLoopControl, R_OK | W_OK) != 0) return "there is no /dev/loop-control";
  return "";
}

}  // namespace ember
