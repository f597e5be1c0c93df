#include "node/unix_socket.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/disk_error.h"

namespace ember {
namespace {

Error failed(const std::string& what, const std::string& path) {
  return disk_error(path, errno).within(what);
}

// The address of `path` through a descriptor of its directory, which must stay open while used.
struct Address {
  UniqueFd directory;
  sockaddr_un name{};
};

Result<Address> address_of(const std::string& path) {
  const std::filesystem::path whole(path);
  const std::string parent = whole.parent_path().empty() ? "." : whole.parent_path().string();
  Address address;
  address.directory = UniqueFd(::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!address.directory) return failed("open", parent);
  const std::string through =
      "/proc/self/fd/" + std::to_string(address.directory.get()) + "/" + whole.filename().string();
  if (through.size() >= sizeof(address.name.sun_path)) {
    return {ErrorCode::invalid_argument, "the socket's name is too long: " + path};
  }
  address.name.sun_family = AF_UNIX;
  std::memcpy(address.name.sun_path, through.c_str(), through.size() + 1);
  return address;
}

UniqueFd new_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

}  // namespace

Result<UniqueFd> listen_unix(const std::string& path, mode_t mode) {
  auto address = address_of(path);
  if (!address.ok()) return std::move(address).error();
  UniqueFd listener = new_socket();
  ::unlink(path.c_str());
  // The mode is in force before anybody can connect: connecting waits for listen().
  if (!listener || ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address->name),
                          sizeof(address->name)) != 0) {
    return failed("bind", path);
  }
  if (::chmod(path.c_str(), mode) != 0) return failed("chmod", path);
  if (::listen(listener.get(), 16) != 0) return failed("listen at", path);
  return listener;
}

Result<UniqueFd> connect_unix(const std::string& path) {
  auto address = address_of(path);
  if (!address.ok()) return std::move(address).error();
  UniqueFd socket = new_socket();
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address->name),
                           sizeof(address->name)) != 0) {
    return failed("connect to", path);
  }
  return socket;
}

UniqueFd accept_one(int listener) {
  return UniqueFd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

ucred peer_of(int socket) {
  ucred peer{.pid = 0, .uid = static_cast<uid_t>(-1), .gid = static_cast<gid_t>(-1)};
  socklen_t size = sizeof(peer);
  ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size);
  return peer;
}

}  // namespace ember
