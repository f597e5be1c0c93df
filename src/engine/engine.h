// The one place that joins queue, autoscaler, scheduler and billing: events in, actions out.
//
// A deterministic, single-threaded value machine. It has no clock, no chance and no I/O of its own;
// the same events at the same times give the same actions and the same state hash on any machine.
// control/ drives it live, sim/ in simulated time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "engine/action.h"
#include "engine/event.h"
#include "engine/reason.h"
#include "scheduler/fleet.h"

namespace ember {

// Whether something may be left of an earlier driver. Then nothing is started, stopped for its
// surplus or forgotten until RecoveryEnded, so that what survived is adopted before anything takes
// its place.
enum class Begin : std::uint8_t { at_once, recovering };

struct EngineOptions {
  std::uint32_t epoch = 1;  // of the writer: ids of new containers start with it, so none returns
  Duration usage_window = Duration::seconds(60);         // longest time before usage is recorded
  Duration cancel_grace = Duration::seconds(2);          // from CancelInput to the kill
  Duration start_backoff = Duration::milliseconds(500);  // after a failed start; doubles, to 30 s
  std::uint32_t start_attempts = 3;  // failed starts in a row before waiting callers are failed
  std::uint32_t lost_attempts = 3;   // attempts lost with a crashed neighbour before an input fails
  std::uint32_t workspace_queue_limit = 50'000;  // inputs waiting in all functions of a workspace
  // Between two looks for a deadlock; one that both find is broken.
  Duration deadlock_look = Duration::milliseconds(250);
  Begin begin = Begin::at_once;
};

enum class ContainerState : std::uint8_t { placed, booting, loading, idle, busy, stopping };

struct ContainerView {
  ContainerId container;
  PoolId pool;
  NodeId node;
  std::vector<DeviceId> devices;
  ContainerState state = ContainerState::placed;
  Time placed, started, ready, idle_since;  // zero where it has not come yet
  std::uint32_t inputs = 0;                 // in flight
  bool yielding = false;  // takes no more inputs: it stops when empty, an older version needs room
  Reason start_reason, stop_reason;
};

struct PoolView {
  PoolId pool;
  FunctionId function;
  AppId app;
  bool retired = false;
  std::uint32_t waiting = 0, running = 0;  // inputs
  std::uint32_t delayed = 0;               // inputs that failed and run again later
  std::uint32_t starting = 0, idle = 0, busy = 0, stopping = 0;  // containers
  std::uint32_t desired = 0;
  Reason scale_reason;  // why desired is what it is
  Reason wait_reason;   // why the first waiting input waits; none if nothing waits
  std::uint32_t failed_starts = 0, refused_starts = 0;  // in a row
};

struct NodeView {
  NodeId node;
  NodeCapacity capacity;
  std::int64_t cpu_millicores_free = 0;
  std::int64_t memory_bytes_free = 0;
  std::vector<DeviceHold> holds;                     // devices in use, by device, then container
  std::vector<std::pair<DeviceId, LeaseId>> leases;  // devices that people have, by device
};

struct LeaseView {
  LeaseId lease;
  NodeId node;  // zero while it waits
  std::vector<DeviceId> devices;
  std::string gpu_type;
  Time from, until;
};

class State;  // engine/state.h; for the engine's own files, the checkers and the state hash

class Engine {
 public:
  explicit Engine(EngineOptions options);
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  // The only way in. `now` never goes back; a driver whose clock steps holds it.
  void handle(const Event& event, Time now);
  // The only way out: what has been decided since the last call, in order, instead of what
  // `actions` holds. Swapped in, so that neither side gives its memory up.
  void take_actions(Actions& actions);
  // When it next wants TimerDue; Time::never() if nothing is pending.
  Time next_deadline() const;

  // For listings, metrics and checkers. Sorted by id.
  std::vector<ContainerView> containers() const;
  std::vector<PoolView> pools() const;
  std::vector<NodeView> nodes() const;
  std::vector<LeaseView> leases() const;  // in the order in which they were asked for
  std::optional<ContainerView> container(ContainerId id) const;
  std::optional<PoolView> pool(PoolId id) const;
  // Why this input is where it is, in one line; nothing for an unknown or finished input.
  std::optional<Reason> explain(InputId id) const;
  // Why an input of the caller would be refused for a limit now, with so many more on their way to
  // the pool; none if it would not be.
  Reason refusal(PoolId pool, KeyId caller, std::uint32_t on_their_way) const;
  // Whether any node of the fleet could hold one such container if it were empty.
  bool could_ever_place(const Resources& resources) const;
  // A hash over everything that can influence a later decision.
  std::uint64_t state_hash() const;
  const State& state() const;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace ember
