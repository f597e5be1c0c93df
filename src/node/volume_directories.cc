#include "node/volume_directories.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "model/volume.h"

namespace ember {
namespace {

constexpr std::size_t kMaxLowers = 250;  // what mount(2) takes in one page of options

}  // namespace

UniqueFd open_directory_beneath(int directory, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  return UniqueFd(
      static_cast<int>(::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof(how))));
}

Result<> check_volumes(const std::vector<VolumeOverlay>& volumes) {
  std::vector<VolumeMount> mounts;
  for (const VolumeOverlay& volume : volumes) {
    if (volume.lowers.size() < 2 || volume.lowers.size() > kMaxLowers) {
      return {ErrorCode::invalid_argument, "a volume has from 2 to 250 directories"};
    }
    mounts.push_back({.path = volume.path,
                      .volume = "v" + std::to_string(mounts.size()),
                      .version = 0,
                      .access = VolumeAccess::read_only,
                      .sub_path = ""});
  }
  return check_volume_mounts(mounts, "volumes");
}

}  // namespace ember
