// Expected failure is a value. The list of error codes is closed: it is mapped once to HTTP status
// (gateway) and once to Python exceptions (SDK).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/assert.h"

namespace ember {

enum class ErrorCode {
  invalid_argument,    // the request itself is wrong; the message says what
  unauthenticated,     // no key, or a key that is not known or has expired
  permission_denied,   // a key that may not do this
  not_found,           // the named thing is not there
  conflict,            // the state of the named thing forbids it
  payload_too_large,   // a body over its limit
  resource_exhausted,  // a queue or quota at its limit; try again later
  user_exception,      // user code raised
  timed_out,           // execution went over the function's timeout
  cancelled,           // the caller or an operator withdrew it
  container_crashed,   // the container ended under the input (signal, exit, lost)
  out_of_memory,       // the kernel ended the container for its memory limit
  start_failed,        // the container could not be started or the user's module not be loaded
  unavailable,         // Ember cannot do it now (starting, draining)
  storage_failed,      // a disk of Ember's takes no writes: it is full, read-only or broken
  internal,            // a fault of ours
};

// The snake_case name used in HTTP bodies, logs and the SDK: the same word as in the enum.
std::string_view error_name(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;  // for people: cause, then the next step

  // The same error with what was being tried in front: "deploy app: image: not found".
  Error within(std::string_view context) && {
    message.insert(0, std::string(context) + ": ");
    return std::move(*this);
  }
};

struct [[nodiscard]] Ok {};

template <class T = Ok>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}      // NOLINT: values convert
  Result(Error error) : state_(std::move(error)) {}  // NOLINT: errors convert
  Result(ErrorCode code, std::string message) : state_(Error{code, std::move(message)}) {}

  bool ok() const { return std::holds_alternative<T>(state_); }
  explicit operator bool() const { return ok(); }

  const T& value() const& {
    EMBER_ASSERT(ok());
    return std::get<T>(state_);
  }
  T& value() & {
    EMBER_ASSERT(ok());
    return std::get<T>(state_);
  }
  T&& value() && {
    EMBER_ASSERT(ok());
    return std::get<T>(std::move(state_));
  }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }

  const Error& error() const& {
    EMBER_ASSERT(!ok());
    return std::get<Error>(state_);
  }
  Error&& error() && {
    EMBER_ASSERT(!ok());
    return std::get<Error>(std::move(state_));
  }

 private:
  std::variant<T, Error> state_;
};

}  // namespace ember
