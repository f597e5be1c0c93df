#include "app/privileges.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace ember {
namespace {

Result<> failed(const char* what) {
  return {ErrorCode::internal,
          std::string("could not give privileges up: ") + what + ": " + std::strerror(errno)};
}

}  // namespace

Result<> give_up_privileges() {
  if (geteuid() == 0) {
    if (setgroups(0, nullptr) != 0) return failed("setgroups");
    if (setresgid(kServeGid, kServeGid, kServeGid) != 0) return failed("setresgid");
    if (setresuid(kServeUid, kServeUid, kServeUid) != 0) return failed("setresuid");
    if (setuid(0) == 0)
      return {ErrorCode::internal, "privileges came back after they were given up"};
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("no_new_privs");
  return Ok{};
}

Result<> forbid_core_dumps() {
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0) return Ok{};
  return {ErrorCode::internal, std::string("could not forbid core dumps: ") + std::strerror(errno)};
}

}  // namespace ember
