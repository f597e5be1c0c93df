#include "base/result.h"

namespace ember {

std::string_view error_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::unauthenticated:
      return "unauthenticated";
    case ErrorCode::permission_denied:
      return "permission_denied";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::conflict:
      return "conflict";
    case ErrorCode::payload_too_large:
      return "payload_too_large";
    case ErrorCode::resource_exhausted:
      return "resource_exhausted";
    case ErrorCode::user_exception:
      return "user_exception";
    case ErrorCode::timed_out:
      return "timed_out";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::container_crashed:
      return "container_crashed";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::start_failed:
      return "start_failed";
    case ErrorCode::unavailable:
      return "unavailable";
    case ErrorCode::storage_failed:
      return "storage_failed";
    case ErrorCode::internal:
      return "internal";
  }
  return "internal";
}

}  // namespace ember
