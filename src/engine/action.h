// What the engine wants done. It never learns how; it hears of the outcome by events.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "engine/event.h"
#include "engine/reason.h"
#include "model/ids.h"
#include "model/usage.h"

namespace ember {

struct StartContainer {
  ContainerId container;
  PoolId pool;
  NodeId node;
  std::vector<DeviceId> devices;
  Reason reason;
};

enum class StopMode : std::uint8_t { graceful, kill };

// Graceful: the container has no input; let it run its exit path, then end it. Kill: end it now.
// May be repeated with kill after graceful.
struct StopContainer {
  ContainerId container;
  NodeId node;
  StopMode mode = StopMode::graceful;
  Reason reason;
};

// The batch that an input runs in, named by the first of its inputs and that one's attempt.
struct BatchPlace {
  InputId first;  // zero: it runs by itself
  Attempt attempt = 0;
  std::uint32_t size = 0;
  friend bool operator==(const BatchPlace&, const BatchPlace&) = default;
};

// Give the input to the container's runner under this attempt. Those of a batch follow each other,
// the first first.
struct DispatchInput {
  InputId input;
  Attempt attempt = 0;
  ContainerId container;
  BatchPlace batch = {};
};

// Interrupt the user code that runs this attempt. If nothing comes of it in time, the engine stops
// the container by kill; its other inputs go back to the queue. A batch is interrupted by its first
// input, once nobody waits for any of it.
struct CancelInput {
  InputId input;
  Attempt attempt = 0;
  ContainerId container;
};

// Where the time of one input went, and its share of the container's execute time: milliseconds
// while several inputs ran are split equally among them. Over all inputs of a container the shares
// add up to its execute time exactly.
struct InputReport {
  Time arrived;
  Time dispatched;  // last attempt
  Time finished;
  Duration execute_share;
  ContainerId container;
  Attempt attempt = 0;
  bool cold = false;  // the input waited for a container to start
};

// The runner's result for this attempt counts: hand it to the caller.
struct AnswerInput {
  InputId input;
  InputOutcome outcome = InputOutcome::succeeded;
  InputReport report;
};

// The input ends without a result. `container` is the one to take evidence (log lines) from, if
// any.
struct FailInput {
  InputId input;
  ErrorCode code = ErrorCode::internal;
  Reason reason;
  ContainerId container;
  InputReport report;
  Duration retry_after = {};  // of a full queue: when trying again is likely to do
};

// The attempt failed, and another one follows, not before `due`. The caller waits on.
struct RetryInput {
  InputId input;
  ErrorCode code = ErrorCode::internal;  // user_exception stands for whatever the runner reported
  Reason reason;
  InputReport report;  // of this attempt
  Time due;
};

struct RecordUsage {
  UsageRow row;
};

// Forget the container: all is recorded. The last action about it.
struct ReleaseContainer {
  ContainerId container;
  ExitCause cause = ExitCause::stopped;
};

// A person has the devices from now on. The driver keeps it, and ends it if it cannot be kept.
struct GrantLease {
  LeaseId lease;
  NodeId node;
  std::vector<DeviceId> devices;
  std::string gpu_type;
  Time from, until;
};

struct RefuseLease {
  LeaseId lease;
  ErrorCode code = ErrorCode::internal;
  Reason reason;
  Duration retry_after = {};  // zero where nobody can tell
};

// The devices are back, and all is recorded. The last action about a lease that was granted.
struct ReleaseLease {
  LeaseId lease;
  Time at;
};

using Action =
    std::variant<StartContainer, StopContainer, DispatchInput, CancelInput, AnswerInput, FailInput,
                 RetryInput, RecordUsage, ReleaseContainer, GrantLease, RefuseLease, ReleaseLease>;
using Actions = std::vector<Action>;

}  // namespace ember
