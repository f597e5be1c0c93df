// Why a decision fell as it did, as data: asserted by tests, shown in listings and by the CLI.
#pragma once

#include <cstdint>
#include <string>

namespace ember {

enum class ReasonCode : std::uint8_t {
  none,
  // why an input waits
  waiting_for_slot,            // a: containers ready, b: inputs ahead
  waiting_for_start,           // a: containers starting, b: inputs ahead
  waiting_for_resources,       // nothing on the fleet is free for it. a: containers wanted
  waiting_for_share,           // a: bytes of a device wanted, b: the most that one has left
  waiting_for_leased,          // a: devices that people have, b: milliseconds until the first ends
  waiting_for_max_containers,  // a: max_containers
  waiting_for_backoff,         // a: failed starts in a row, b: milliseconds until the next
  waiting_after_refusal,       // a: refused starts in a row, b: milliseconds until the next
  waiting_for_node,            // none is connected
  waiting_for_batch,           // a: inputs that the batch has, b: milliseconds until it goes
  waiting_for_rollout,         // a newer version is given the room. a: its containers starting
  running,                     // on a container
  // why a container starts
  demand,             // a: inputs in flight and waiting, b: target per container
  min_containers,     // a: the floor
  buffer_containers,  // a: the buffer
  // why a container stops
  idle_window_over,  // a: milliseconds idle
  over_desired,      // a: containers, b: desired
  retired,           // a newer version took over
  app_stopped,
  draining,
  timed_out,          // user code did not end after its timeout and a cancellation
  cancelled,          // user code did not end after a cancellation
  startup_timed_out,  // a: milliseconds given
  device_cordoned,    // one of its devices is sick
  operator_asked,
  waiting_to_retry,  // a: attempts that failed, b: milliseconds until the next
  // why an input failed
  attempt_failed,       // the function itself, or its runner, said so
  expired,              // a: milliseconds that it was given to start in
  queue_full,           // a: the limit
  workspace_full,       // a: the limit
  execution_timed_out,  // a: the timeout in milliseconds
  caller_cancelled,
  container_crashed,          // under the input
  container_out_of_memory,    // a: the limit in bytes
  container_over_gpu_share,   // a: the share, b: what it used, in bytes
  container_lost_repeatedly,  // a: attempts
  container_lost_pinned,      // under an input that must not run again
  start_failed_repeatedly,    // a: failed starts in a row
  start_refused_repeatedly,   // a: refused starts in a row
  never_placeable,            // no node of the fleet could ever hold one
  deadlocked,                 // what it waits for waits for it. a: containers that hold that
  // why a lease was not granted
  no_device_free,  // a: such devices, b: milliseconds until the first lease of one ends; 0: none
  no_such_device,  // on any node
};

struct Reason {
  ReasonCode code = ReasonCode::none;
  std::int64_t a = 0;
  std::int64_t b = 0;

  // One line for people, without a final full stop.
  std::string text() const;
  friend bool operator==(const Reason&, const Reason&) = default;
};

}  // namespace ember
