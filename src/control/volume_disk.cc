#include "control/volume_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/disk_error.h"

namespace ember {
namespace {

constexpr std::size_t kCopyBytes = 1 << 20;
constexpr std::size_t kDirectBlock = 4096;  // of which memory, offset and length are multiples

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

struct FreeMemory {
  void operator()(char* memory) const { std::free(memory); }
};

}  // namespace

UniqueFd open_beneath(int directory, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  const char* name = path.empty() ? "." : path.c_str();
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, directory, name, &how, sizeof(how))));
}

UniqueFd open_to_list(int directory, const std::string& path) {
  return open_beneath(directory, path, O_RDONLY | O_DIRECTORY);
}

Result<std::vector<DirectoryEntry>> entries_of(UniqueFd directory, const std::string& path) {
  if (!directory) return disk_error(path, errno);
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(directory.get()));
  if (!stream) return disk_error(path, errno);
  directory.release();
  std::vector<DirectoryEntry> entries;
  errno = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") entries.push_back({std::string(name), entry->d_type});
  }
  if (errno != 0) return disk_error(path, errno);
  std::ranges::sort(entries, {}, &DirectoryEntry::name);
  return entries;
}

bool is_whiteout(const struct stat& status) {
  return S_ISCHR(status.st_mode) && status.st_rdev == makedev(0, 0);
}

Result<> write_whole(int file, std::string_view bytes, std::int64_t offset,
                     const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return disk_error(path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += written;
  }
  return Ok{};
}

Result<> write_past_cache(FileToWrite to, std::string_view bytes, std::int64_t offset,
                          const std::string& path) {
  const std::unique_ptr<char, FreeMemory> block(
      static_cast<char*>(std::aligned_alloc(kDirectBlock, kCopyBytes)));
  // Direct writes to one file go side by side where none of them makes it longer. Without room for
  // that, the write itself fails.
  if (to.direct >= 0) ::fallocate(to.file, 0, offset, static_cast<off_t>(bytes.size()));
  while (to.direct >= 0 && block && bytes.size() >= kDirectBlock) {
    const std::size_t size = std::min(bytes.size(), kCopyBytes) / kDirectBlock * kDirectBlock;
    std::memcpy(block.get(), bytes.data(), size);
    if (::pwrite(to.direct, block.get(), size, offset) != static_cast<ssize_t>(size)) break;
    bytes.remove_prefix(size);
    offset += static_cast<std::int64_t>(size);
  }
  return write_whole(to.file, bytes, offset, path);
}

Result<std::string> read_range(int file, std::int64_t offset, std::size_t at_most,
                               const std::string& path) {
  std::string bytes(at_most, '\0');
  std::size_t filled = 0;
  while (filled < at_most) {
    const ssize_t got = ::pread(file, bytes.data() + filled, at_most - filled,
                                offset + static_cast<std::int64_t>(filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return disk_error(path, errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  bytes.resize(filled);
  return bytes;
}

std::string read_link(int directory, const std::string& name) {
  std::string target(PATH_MAX, '\0');
  const ssize_t size = ::readlinkat(directory, name.c_str(), target.data(), target.size());
  target.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return target;
}

bool clone_file(int from, int to) { return ::ioctl(to, FICLONE, from) == 0; }

Result<> copy_file(int from, int to, const std::string& path) {
  if (clone_file(from, to)) return Ok{};
  for (std::int64_t offset = 0;;) {
    auto piece = read_range(from, offset, kCopyBytes, path);
    if (!piece) return std::move(piece).error();
    if (piece->empty()) return Ok{};
    if (auto written = write_whole(to, *piece, offset, path); !written) return written;
    offset += static_cast<std::int64_t>(piece->size());
  }
}

Result<> sync_file(int file, const std::string& path) {
  return ::fsync(file) == 0 ? Result<>(Ok{}) : Result<>(disk_error(path, errno));
}

Result<> sync_file_system(int directory, const std::string& path) {
  return ::syncfs(directory) == 0 ? Result<>(Ok{}) : Result<>(disk_error(path, errno));
}

Result<> make_directories(int directory, const std::string& path, const std::string& shown) {
  if (path.empty()) return Ok{};
  if (::mkdirat(directory, path.c_str(), kVolumeDirectoryMode) == 0 || errno == EEXIST) return Ok{};
  if (errno != ENOENT) return disk_error(shown, errno);
  if (auto above = make_directories(directory, parent_of(path), shown); !above) return above;
  if (::mkdirat(directory, path.c_str(), kVolumeDirectoryMode) == 0 || errno == EEXIST) return Ok{};
  return disk_error(shown, errno);
}

void remove_tree(int directory, const std::string& path) {
  const std::string parent = parent_of(path);
  const std::string name = parent.empty() ? path : path.substr(parent.size() + 1);
  const UniqueFd above = open_beneath(directory, parent, O_PATH | O_DIRECTORY);
  if (!above || ::unlinkat(above.get(), name.c_str(), 0) == 0) return;
  if (errno != EISDIR && errno != EPERM) return;
  ::fchmodat(above.get(), name.c_str(), 0700, 0);  // its owner may have closed it
  UniqueFd here = open_to_list(above.get(), name);
  if (!here) return;
  const UniqueFd inside(::fcntl(here.get(), F_DUPFD_CLOEXEC, 0));
  const auto entries = entries_of(std::move(here), path);
  if (!entries) return;
  for (const DirectoryEntry& entry : *entries) remove_tree(inside.get(), entry.name);
  ::unlinkat(above.get(), name.c_str(), AT_REMOVEDIR);
}

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string join_path(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

}  // namespace ember
