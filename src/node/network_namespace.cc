#include "node/network_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

namespace ember {

UniqueFd open_own_network_namespace() {
  return UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

bool enter_new_network_namespace() {
  if (::unshare(CLONE_NEWNET) != 0) return false;
  const UniqueFd file(::open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC));
  [[maybe_unused]] const ssize_t ignored = ::write(file.get(), "1", 1);
  return true;
}

}  // namespace ember
