// All that the engine knows. Plain data with no behaviour but look-ups: the event families change
// it (deploys, inputs, containers, nodes, timers), views and the hash read it.
//
// Invariants, kept between events:
// - a pool has waiting inputs only while none of its ready containers has a free slot, or while
//   they wait for more to run with, fewer than a batch;
// - a container is in exactly one group of its pool, and in `free_slots` just if it is ready, takes
//   inputs and has fewer than max_inputs slots taken: each by an input, or by a batch;
// - every container that is not gone has one reservation on its node, if the node is known;
// - no record is armed for a time later than it needs to be looked at again; earlier is allowed.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "autoscaler/backoff.h"
#include "autoscaler/desired.h"
#include "base/id_index.h"
#include "base/slab.h"
#include "billing/usage_meter.h"
#include "engine/engine.h"
#include "queue/caller_counts.h"
#include "queue/caller_line.h"
#include "queue/deadline.h"
#include "queue/gathering.h"
#include "queue/input_entry.h"
#include "queue/pace.h"
#include "queue/priority_queue.h"
#include "queue/slot_rank.h"
#include "scheduler/backlog.h"
#include "scheduler/fleet.h"
#include "scheduler/refusals.h"

namespace ember {

// How long a stopping container may take before it is killed, and killed again.
inline constexpr Duration kStopPatience = Duration::seconds(30);
// Refused starts in a row, on whatever nodes, before waiting callers are failed. With one node and
// the usual backoff that is some two minutes.
inline constexpr std::uint32_t kRefusedStarts = 10;

class State {
 public:
  enum class Stage : std::uint8_t {
    placed,  // the node has not confirmed yet
    booting,
    loading,
    unknown,  // adopted: it may be running something of an earlier driver
    ready,
    stopping,
  };

  // The lists of a pool. `busy` holds unknown ones too: they may be.
  enum Group : std::uint8_t { kStarting, kIdle, kBusy, kStopping, kGroupCount };

  struct Container {
    ContainerId id;
    NodeId node;
    Slot pool = kNoSlot;
    Stage stage = Stage::placed;
    Group group = kStarting;
    bool seen_loading = false;  // told before the node's confirmation
    bool seen_ready = false;
    bool yielding = false;  // takes no more inputs: an older version's need its room
    Time placed, started, ready, idle_since;
    Time ended = Time::never();           // of one that had ended when it was adopted
    Time start_deadline = Time::never();  // until it is ready
    Time kill_due = Time::never();        // of the first ending input
    Time stop_due = Time::never();        // while stopping: when to ask again, by kill
    Reason start_reason, stop_reason;
    std::int64_t gpu_used_bytes = 0;  // when it ended for more than its share
    Holding holding;
    UsageMeter meter;
    SlotList<InputEntry, &InputEntry::together> inputs;
    std::uint32_t batches = 0;  // that those are in; of a batched function
    Links group_links;
    std::uint32_t free_slot_position = kNoSlot;
    std::uint32_t deadline_position = kNoSlot;
  };

  struct Pool {
    PoolId id;
    Slot function = kNoSlot;
    Slot app = kNoSlot;
    Slot workspace = kNoSlot;
    FunctionSettings settings;
    Spread spread = Spread::packed;
    ReasonCode ended = ReasonCode::none;  // retired or app_stopped
    PoolId replaces, replaced_by;         // zero: none, or over
    std::uint32_t taken = 0;              // containers that the replaced one gave up for it
    std::uint32_t in_flight = 0;          // running and ending inputs
    std::uint32_t batches = 0;            // that those are in; of a batched function
    std::uint32_t awaited = 0;            // waiting inputs that have a parent
    bool seems_stuck = false;             // in a deadlock, at the last look
    Time next_look = Time::never();       // for one, while there are such
    PriorityQueue waiting;
    Gathering gathering;
    Pace pace;
    SlotList<InputEntry, &InputEntry::line> running;  // by dispatch, so by deadline too
    SlotList<InputEntry, &InputEntry::line> delayed;  // and those that are ending to retry
    std::array<SlotList<Container, &Container::group_links>, kGroupCount> groups;
    SlotHeap<SlotRank, Container, &Container::free_slot_position> free_slots;
    Backoff backoff;                   // after failed starts
    Refusals refusals;                 // by nodes
    std::uint32_t refused_starts = 0;  // in a row
    std::uint64_t backlog_order = 0;   // not zero while it waits for room on the fleet
    Time refusal_retry = Time::never();
    std::uint32_t deadline_position = kNoSlot;

    std::uint32_t live() const {
      return groups[kStarting].size() + groups[kIdle].size() + groups[kBusy].size();
    }
    std::uint32_t held() const { return live() + groups[kStopping].size(); }
    // That it is to have before it takes over, where there is little room.
    std::uint32_t half_of_floor() const { return (settings.scaling.min_containers + 1) / 2; }
    // It has work and nothing that could ever do it.
    bool is_starved() const { return live() == 0 && !waiting.empty(); }
    bool has_work() const { return in_flight > 0 || !waiting.empty() || !delayed.empty(); }
    bool is_batched() const { return settings.batching.is_on(); }
    // Inputs that one slot takes.
    std::uint32_t inputs_per_slot() const {
      return is_batched() ? settings.batching.max_batch_size : 1;
    }
    std::uint32_t slots_taken() const { return is_batched() ? batches : in_flight; }
    std::uint32_t slots_wanted() const {
      return (waiting.size() + inputs_per_slot() - 1) / inputs_per_slot();
    }
    std::uint32_t slots_taken_of(const Container& container) const {
      return is_batched() ? container.batches : container.inputs.size();
    }
    // Inputs for each container that the autoscaler aims at.
    std::uint32_t target_inputs() const {
      return settings.scaling.target_inputs * inputs_per_slot();
    }
  };

  // Inputs that run as one. It is there until the last of them has let go of its container.
  struct Batch {
    InputId id;  // of the first of them
    Attempt attempt = 0;
    std::uint32_t inputs = 0;   // that have not let go
    std::uint32_t running = 0;  // of those, whose callers wait
    bool is_over = false;       // nobody waits, and it is not to run much longer
    Slot maker = kNoSlot;       // the running one that their calls count as made by, if there are
  };

  // What a pool without containers waits for while its function is at its maximum.
  enum class RoomWanted : std::uint8_t { none, idle_container, any_container };

  struct Function {
    FunctionId id;
    std::uint32_t max_containers = 0;  // of the newest version
    std::uint32_t held = 0;            // containers of all versions that are not gone
    std::uint32_t yielding = 0;        // of those
    RoomWanted room_wanted = RoomWanted::none;
    std::vector<Slot> pools;  // oldest first
  };

  struct App {
    AppId id;
    std::vector<Slot> pools;
  };

  struct Workspace {
    WorkspaceId id;
    CallerCounts waiting;  // inputs, in all its pools
    std::uint32_t pools = 0;
  };

  struct Lease {
    LeaseId id;
    GpuDemand gpu;  // of one that waits
    Duration length;
    NodeId node;  // zero while it waits
    std::vector<DeviceId> devices;
    std::string gpu_type;
    Time from, until;
    bool metered = false;  // its node is here
    Time recorded_until;   // never() since its node was lost
  };

  explicit State(const EngineOptions& engine_options)
      : options(engine_options), recovering(engine_options.begin == Begin::recovering) {}

  EngineOptions options;
  Time now;
  bool recovering;
  bool draining = false;
  std::uint64_t next_container = 1;  // the low half of its id
  std::uint64_t next_order = 1;      // of arrival

  Slab<Workspace> workspaces;
  Slab<App> apps;
  Slab<Function> functions;
  Slab<Pool> pools;
  Slab<Container> containers;
  InputSlab inputs;
  Slab<Batch> batches;
  CallerLines caller_lines;
  IdIndex<WorkspaceId> workspace_index;
  IdIndex<AppId> app_index;
  IdIndex<FunctionId> function_index;
  IdIndex<PoolId> pool_index;
  IdIndex<ContainerId> container_index;
  IdIndex<InputId> input_index;

  Fleet fleet;
  Backlog backlog;
  std::vector<Lease> leases;  // in the order in which they were asked for; few
  Time lease_due = Time::never();
  SlotHeap<Deadline, InputEntry, &InputEntry::deadline_position> input_deadlines;
  SlotHeap<Deadline, Pool, &Pool::deadline_position> pool_deadlines;
  SlotHeap<Deadline, Container, &Container::deadline_position> container_deadlines;

  Actions actions;
  std::vector<UsageRow> rows;  // scratch

  PoolMode mode(const Pool& pool) const {
    return draining || pool.ended != ReasonCode::none ? PoolMode::ending : PoolMode::serving;
  }
  // Why a pool's containers stop where its mode is ending.
  ReasonCode end_reason(const Pool& pool) const {
    return pool.ended != ReasonCode::none ? pool.ended : ReasonCode::draining;
  }
  WorkspaceId workspace_of(const Pool& pool) const { return workspaces[pool.workspace].id; }
  // The pool that goes on serving until this one is up; kNoSlot: none does.
  Slot predecessor_of(const Pool& pool) const {
    const Slot slot = pool.replaces ? pool_index.find(pool.replaces) : kNoSlot;
    const bool serves = slot != kNoSlot && pools[slot].ended == ReasonCode::none;
    return serves && pool.ended == ReasonCode::none ? slot : kNoSlot;
  }
  // The pool that has been given room of this one's and lacks containers yet; kNoSlot: none.
  Slot taker_of_room(const Pool& pool) const {
    const Slot slot = pool.replaced_by ? pool_index.find(pool.replaced_by) : kNoSlot;
    if (slot == kNoSlot || predecessor_of(pools[slot]) == kNoSlot) return kNoSlot;
    const Pool& taker = pools[slot];
    return taker.taken > 0 && taker.live() < taker.half_of_floor() ? slot : kNoSlot;
  }
  Backlog::Shape shape_of(const Pool& pool) const {
    return Backlog::shape_of(pool.settings.resources, workspace_of(pool));
  }
  Desired desired(const Pool& pool) const {
    return desired_containers(pool.settings.scaling, mode(pool),
                              {pool.slots_taken(), pool.slots_wanted(), pool.groups[kBusy].size()});
  }
};

// The slots of all records, by id: for listings and the few events that concern everything.
template <class Record>
std::vector<Slot> slots_by_id(const Slab<Record>& slab) {
  std::vector<Slot> slots;
  for (Slot slot = 0; slot < slab.extent(); ++slot) {
    if (slab[slot].id) slots.push_back(slot);
  }
  std::sort(slots.begin(), slots.end(), [&](Slot a, Slot b) { return slab[a].id < slab[b].id; });
  return slots;
}

}  // namespace ember
