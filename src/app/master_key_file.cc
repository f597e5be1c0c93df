#include "app/master_key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/disk_error.h"

namespace ember {
namespace {

constexpr std::size_t kMaxText = 4096;

Error failed(std::string_view what, const std::string& path) {
  return disk_error(path, errno).within(what);
}

// A key as text, of a file or a pipe, until its end. Empty where it holds nothing.
Result<SecretBytes> read_text(int fd, const std::string& name) {
  SecretBytes buffer(kMaxText);
  std::size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t got = ::read(fd, buffer.data() + size, buffer.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read", name);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  std::string_view text = buffer.view().substr(0, size);
  while (text.ends_with('\n') || text.ends_with(' ')) text.remove_suffix(1);
  return SecretBytes(text);
}

Result<MasterKey> parse(std::string_view text, const std::string& name) {
  auto key = MasterKey::parse(text);
  if (!key) return std::move(key).error().within(name);
  return key;
}

Result<MasterKey> from_variable(const std::string& name) {
  char* value = std::getenv(name.c_str());
  if (!value || !*value) {
    return {ErrorCode::invalid_argument, "the environment has no variable " + name +
                                             ", which --master-key-env names; set it, and start "
                                             "again"};
  }
  auto key = parse(value, "the variable " + name);
  wipe(std::span<char>(value, std::strlen(value)));  // /proc/PID/environ shows this memory
  ::unsetenv(name.c_str());
  return key;
}

Result<MasterKey> from_command(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "re");
  if (!pipe) return failed("start", "--master-key-command");
  auto text = read_text(::fileno(pipe), "the output of --master-key-command");
  const int status = ::pclose(pipe);
  if (!text) return std::move(text).error();
  if (status != 0) {
    const std::string how = WIFEXITED(status) ? "status " + std::to_string(WEXITSTATUS(status))
                                              : "signal " + std::to_string(WTERMSIG(status));
    return {ErrorCode::invalid_argument, "--master-key-command ended with " + how +
                                             "; it must print 64 hex digits and end with 0"};
  }
  return parse(text->view(), "what --master-key-command prints");
}

Result<> check_mode(int fd, const std::string& path) {
  struct stat status;
  if (::fstat(fd, &status) != 0) return failed("look at", path);
  if (!S_ISREG(status.st_mode)) return {ErrorCode::permission_denied, path + " is no plain file"};
  if (status.st_uid != ::geteuid() && status.st_uid != 0) {
    return {ErrorCode::permission_denied, path +
                                              " belongs to another user; make it your own: chown " +
                                              std::to_string(::geteuid()) + " " + path};
  }
  if ((status.st_mode & 077) == 0) return Ok{};
  return {ErrorCode::permission_denied,
          path + " may be read by others; close it: chmod 600 " + path +
              ", and make new values of all secrets if others may have read it"};
}

}  // namespace

Result<MasterKeyFile> MasterKeyFile::open(const std::string& data, const MasterKeyFlags& flags) {
  MasterKeyFile file;
  if (!flags.env.empty() || !flags.command.empty()) {
    auto key = flags.env.empty() ? from_command(flags.command) : from_variable(flags.env);
    if (!key) return std::move(key).error();
    file.key_ = std::move(*key);
    return file;
  }
  const std::string path = data + "/master.key";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return failed("open", path);
  if (auto closed = check_mode(fd.get(), path); !closed) return std::move(closed).error();
  auto text = read_text(fd.get(), path);
  if (!text) return std::move(text).error();
  if (text->empty()) {
    // The file may be new, and is to be there after a power cut as what it seals is.
    const UniqueFd directory(::open(data.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory || ::fsync(directory.get()) != 0) return failed("sync", data);
    file.empty_file_ = std::move(fd);
    return file;
  }
  auto key = parse(text->view(), path);
  if (!key) return std::move(key).error();
  file.key_ = std::move(*key);
  return file;
}

Result<std::optional<MasterKey>> MasterKeyFile::take(Sealed sealed) {
  if (key_ || sealed == Sealed::something) return std::exchange(key_, std::nullopt);
  MasterKey key = MasterKey::generate();
  const SecretBytes text = key.text();
  const int fd = empty_file_.get();
  if (::pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
      ::fsync(fd) != 0) {
    const Error error = failed("write", "master.key");
    (void)!::ftruncate(fd, 0);
    return error;
  }
  empty_file_.reset();
  return std::optional(std::move(key));
}

}  // namespace ember
