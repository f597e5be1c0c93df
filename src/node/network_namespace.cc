#include "node/network_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace ember {
namespace {

Error failed(const std::string& what) {
  return {ErrorCode::unavailable, what + ": " + std::strerror(errno)};
}

}  // namespace

UniqueFd open_own_network_namespace() {
  return UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

bool enter_new_network_namespace() {
  if (::unshare(CLONE_NEWNET) != 0) return false;
  const UniqueFd file(::open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC));
  [[maybe_unused]] const ssize_t ignored = ::write(file.get(), "1", 1);
  return true;
}

Result<> in_network_namespace(const UniqueFd& there, const std::function<Result<>()>& what) {
  const UniqueFd here = open_own_network_namespace();
  if (!here || ::setns(there.get(), CLONE_NEWNET) != 0) return failed("enter the namespace");
  auto done = what();
  if (::setns(here.get(), CLONE_NEWNET) != 0) return failed("leave the namespace");
  return done;
}

}  // namespace ember
