// Calls that nobody needs to wait for, as the gateway sees them: accepted once they are on disk,
// run whatever becomes of who made them, their outcome kept for a while. All of it runs on the
// loop's thread; `done` once on it, possibly before the call returns.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "control/control.h"

namespace ember {

inline constexpr std::size_t kMaxAsyncArguments = 64u << 20;  // as of any call
inline constexpr std::size_t kMaxIdempotencyKey = 255;

struct AsyncRequest {
  std::string app, function;
  std::string variant = {};  // of the function; empty: as it is deployed
  Body arguments;
  KeyId caller = {};
  std::string idempotency_key = {};  // of one's own making; empty: none
  Duration time_to_live = {};        // fails if it has not started by then; zero: no limit
  Priority priority = {};
  std::string webhook = {};  // URL that is told of its end; empty: none
  CallId parent = {};        // that makes it, from a container; zero: none
};

// Whether it is a new call, or the one that the same request with the same key has made before.
enum class Acceptance : std::uint8_t { fresh, repeated };

// How far a call has come. `state_json` is its document while it has not ended.
struct CallOutcome {
  enum class Kind : std::uint8_t { pending, value, failure };
  Kind kind = Kind::pending;
  std::string state_json;
  Body value;
  CallFailure failure;
  CallReport report;
};

class AsyncCalls {
 public:
  using OnStarted = std::function<void(StartedCall, Acceptance)>;
  using Done = std::function<void(Result<std::string>)>;  // with a document

  virtual ~AsyncCalls() = default;
  virtual void spawn(AsyncRequest request, OnStarted done) = 0;
  // Its outcome as soon as it has ended, or what it does after so much patience.
  virtual void outcome(CallId call, Duration patience,
                       std::function<void(Result<CallOutcome>)> done) = 0;
  // A new call of the same function with the same arguments, of one that has ended.
  virtual void repeat(CallId call, KeyId caller, OnStarted done) = 0;
  // Ended ones: state "dead" (failed for good), or as a call's document has it.
  virtual void list(std::string state, std::string app, std::size_t limit, Done done) = 0;
  virtual void show(CallId call, Done done) = 0;
  // It and all that it has made, as a tree.
  virtual void graph(CallId call, Done done) = 0;
};

}  // namespace ember
