#include "base/disk_error.h"

#include <cerrno>
#include <cstring>

namespace ember {

Error disk_error(const std::string& path, int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return {ErrorCode::storage_failed,
              path + ": no space is left on its disk; free some, Ember then goes on by itself"};
    case EROFS:
      return {ErrorCode::storage_failed,
              path + ": its disk is read-only; mount it for writing, Ember then goes on by itself"};
    case EIO:
    case EFBIG:
      return {ErrorCode::storage_failed, path + ": its disk fails (" + std::strerror(error_number) +
                                             "); the kernel's log (`dmesg`) says more"};
    default:
      return {ErrorCode::unavailable, path + ": " + std::strerror(error_number)};
  }
}

}  // namespace ember
