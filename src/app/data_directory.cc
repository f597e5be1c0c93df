#include "app/data_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "app/privileges.h"
#include "base/disk_error.h"

namespace ember {
namespace {

constexpr std::size_t kMaxKeyFile = 4096;

Error failed(std::string what, const std::string& path) {
  const int error = errno;
  if (error != EACCES && error != EPERM) return disk_error(path, error).within(what);
  return {ErrorCode::permission_denied, what + " " + path + ": " + std::strerror(error)};
}

Result<> make_directory(const std::string& path, mode_t mode) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) return failed("make", parent);
  }
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return failed("make", path);
  return Ok{};
}

Result<std::string> read_all(int fd, const std::string& path) {
  std::string text(kMaxKeyFile, '\0');
  const ssize_t size = pread(fd, text.data(), text.size(), 0);
  if (size < 0) return failed("read", path);
  text.resize(static_cast<std::size_t>(size));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

Result<> write_all(int fd, std::string_view text, const std::string& path) {
  if (ftruncate(fd, 0) != 0) return failed("truncate", path);
  if (pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return failed("write", path);
  }
  return Ok{};
}

}  // namespace

std::string_view role_name(Role role) { return role == Role::serve ? "serve" : "node"; }

Result<> prepare_data_directory(const std::string& data, Role role) {
  if (auto made = make_directory(data, 0755); !made) return made;
  const std::string own = data + "/" + std::string(role_name(role));
  // serve must be able to reach node/node.sock by name, so the node's part may be passed through.
  if (auto made = make_directory(own, role == Role::serve ? 0700 : 0711); !made) return made;
  if (role == Role::serve && geteuid() == 0 && chown(own.c_str(), kServeUid, kServeGid) != 0) {
    return failed("give away", own);
  }
  return Ok{};
}

Result<UniqueFd> take_pid_file(const std::string& data, Role role) {
  const std::string path = data + "/" + std::string(role_name(role)) + ".pid";
  UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file) return failed("open", path);
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    const auto holder = read_all(file.get(), path);
    return Error{ErrorCode::conflict,
                 "another `emberd " + std::string(role_name(role)) + "` (process " +
                     (holder ? *holder : "?") + ") uses the data directory " + data +
                     "; stop it with `ember down`, or choose another with --data"};
  }
  if (auto written = write_all(file.get(), std::to_string(getpid()) + "\n", path); !written) {
    return std::move(written).error();
  }
  return file;
}

Result<std::string> read_or_make_key(const std::string& data, std::string (*generate)()) {
  const std::string path = data + "/key";
  UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return failed("open", path);
  auto text = read_all(file.get(), path);
  if (!text || !text->empty()) return text;
  std::string key = generate();
  if (auto written = write_all(file.get(), key + "\n", path); !written) {
    return std::move(written).error();
  }
  return key;
}

Result<UniqueFd> open_url_file(const std::string& data) {
  const std::string path = data + "/url";
  UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file) return failed("open", path);
  return file;
}

Result<> write_url(const UniqueFd& file, std::string_view url) {
  return write_all(file.get(), std::string(url) + "\n", "url");
}

}  // namespace ember
