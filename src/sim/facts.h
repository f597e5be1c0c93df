// The checkers' own picture of what the engine has been told and has decided, kept from events and
// actions alone, never from the engine's state.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "engine/action.h"
#include "engine/event.h"

namespace ember {

struct ContainerFact {
  PoolId pool;
  NodeId node;
  std::vector<DeviceId> devices;
  bool confirmed = false;  // the node has said that it holds its resources
  bool loading = false;
  bool ready = false;
  bool stopping = false;
  bool adopted = false;
  Time placed;
  struct Taken {
    Attempt attempt = 0;
    bool ending = false;  // its attempt is over
    Time ending_since;
    BatchPlace batch = {};
  };
  std::map<InputId, Taken> slots;

  // By inputs that run by themselves, and by batches.
  std::size_t slots_taken() const;
  // Whether anybody waits for one of the batch.
  bool runs(const BatchPlace& batch) const;
};

struct InputFact {
  PoolId pool;
  KeyId caller;
  std::uint64_t order = 0;  // of arrival
  Time arrived;
  Time dispatched;
  Attempt attempt = 0;
  ContainerId container;  // while it runs
  bool pinned = false;    // a part of its result has been handed out
  Time expires;
  Priority priority = {};
  std::uint32_t retried = 0;
  Time due = {};        // after a failed attempt, until it waits again: not before then
  InputId parent = {};  // whose attempt of that number waits for it, or the batch of that
  Attempt parent_attempt = 0;
  ContainerId parent_container = {};
};

// Where an input waits: the highest priority first, and of one priority by order of arrival.
struct WaitingPlace {
  Priority priority;
  std::uint64_t order = 0;

  friend bool operator<(const WaitingPlace& a, const WaitingPlace& b) {
    return a.priority != b.priority ? a.priority > b.priority : a.order < b.order;
  }
};
using WaitingInputs = std::map<WaitingPlace, InputId>;

// Who takes turns in a pool: callers among those with inputs of the same priority.
struct CallerPlace {
  KeyId caller;
  Priority priority;
  friend auto operator<=>(const CallerPlace&, const CallerPlace&) = default;
};

// One caller of a pool, with one priority. Turns are counted from 1.
struct CallerFact {
  WaitingInputs waiting;
  std::uint64_t waits_since = 0;  // after which turn it began to wait, if it does
  std::uint64_t last_turn = 0;    // its own; zero: none yet
};

struct LeaseFact {
  NodeId node;
  std::vector<DeviceId> devices;
  Time from, until;
};

enum class PoolEnd : std::uint8_t { none, retired, stopped };

struct PoolFact {
  PoolSpec spec;
  AppId app;
  WorkspaceId workspace;
  PoolEnd end = PoolEnd::none;
  PoolId replaces;  // zero: none, or over
  WaitingInputs waiting;
  std::uint64_t turns = 0;  // inputs dispatched so far
  std::map<CallerPlace, CallerFact> callers;
};

// How many inputs wait, of callers who have any.
using WaitingByCaller = std::map<KeyId, std::uint64_t>;
WaitingByCaller waiting_in(const PoolFact& pool);

class Facts {
 public:
  void apply(const Event& event, Time now);
  // `cause`: the event that the action came of.
  void apply(const Action& action, const Event& cause, Time now);
  // The driver died and a new engine begins: it knows nothing.
  void restart();

  const ContainerFact* container(ContainerId id) const;
  const InputFact* input(InputId id) const;
  const PoolFact* pool(PoolId id) const;
  const std::map<ContainerId, ContainerFact>& containers() const { return containers_; }
  const std::map<InputId, InputFact>& inputs() const { return inputs_; }
  const std::map<PoolId, PoolFact>& pools() const { return pools_; }
  const std::map<NodeId, NodeCapacity>& nodes() const { return nodes_; }
  const std::map<LeaseId, LeaseFact>& leases() const { return leases_; }  // granted ones
  // Over all versions.
  std::uint32_t containers_of(FunctionId function) const;
  WaitingByCaller waiting_in(WorkspaceId workspace) const;
  std::uint32_t max_containers(FunctionId function) const;
  bool draining() const { return draining_; }

 private:
  bool holds(PoolId id) const;
  void deploy(const AppDeployed& event);
  void settle_rollout(PoolId id, PoolFact& pool);
  void note_maximum(PoolId id);
  void add(const PoolAdded& event);
  void rescale(const ScalingChanged& event);
  void stop(AppId app);
  void finish(const InputFinished& event, Time now);
  void pin(const InputPinned& event);
  void adopt_child(const InputArrived& event);
  void wait(InputId id, const InputFact& input);
  void wait_no_more(const InputFact& input);
  void wait_again(InputId id, InputFact& input);
  void retry(const RetryInput& action, const Event& cause, Time now);
  void let_go(InputId id, Time now);
  void end_slot(ContainerFact& container, InputId id, Time now);
  void free_slot(ContainerFact& container, InputId id, Time now);
  void wait_for_rest(ContainerFact& container, const BatchPlace& batch, Time now);
  void wake(Time now);
  void take_inputs_off(ContainerFact& container, Time now);
  void end_input(InputId id);

  std::map<ContainerId, ContainerFact> containers_;
  std::map<InputId, InputFact> inputs_;
  std::map<PoolId, PoolFact> pools_;
  std::map<NodeId, NodeCapacity> nodes_;
  std::map<LeaseId, LeaseFact> leases_;
  std::map<FunctionId, std::uint32_t> held_;
  std::map<FunctionId, std::uint32_t> max_containers_;  // of the newest version
  std::uint64_t next_order_ = 1;
  bool draining_ = false;
};

}  // namespace ember
