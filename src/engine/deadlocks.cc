// Deadlocks: inputs that can never start, since what holds all the slots or devices that they could
// have waits for them, directly or over others. Nobody but them could end that, so one parent's
// are failed: it goes on with that failure, and what it held goes to the rest.
//
// A look assumes that all pools which could be in it are stuck, and clears those that have a way
// out until nothing changes: what is left has none. A parent counts as waiting for all that it has
// called, so a look is believed only if the next one finds the same.
//
// What the inputs of a batch call counts as called by one of them that runs, whichever that is:
// when its caller leaves, another one takes its place. Who waits for whom never goes in a circle,
// with a batch taken as one.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "engine/steps.h"
#include "scheduler/filter.h"

namespace ember {
namespace {

// Whose calls the user code that runs the input waits for. Another than itself only in a batch.
Slot maker_of_calls(const State& state, Slot slot) {
  const Slot batch = state.inputs[slot].batch;
  const Slot maker = batch == kNoSlot ? kNoSlot : state.batches[batch].maker;
  return maker == kNoSlot ? slot : maker;
}

// One of the same batch that runs.
Slot running_beside(const State& state, Slot slot) {
  const InputEntry& input = state.inputs[slot];
  const auto& inputs = state.containers[input.container].inputs;
  for (Slot one = inputs.front(); one != kNoSlot; one = inputs.next(state.inputs, one)) {
    const InputEntry& other = state.inputs[one];
    if (one != slot && other.batch == input.batch && other.state == InputState::running) return one;
  }
  return kNoSlot;
}

// For a call that the input has made; kNoSlot where nobody waits for what it runs in.
Slot appoint_maker(State& state, Slot slot) {
  const InputEntry& input = state.inputs[slot];
  const bool is_running = input.state == InputState::running;
  if (input.batch == kNoSlot) return is_running ? slot : kNoSlot;
  Slot& maker = state.batches[input.batch].maker;
  if (maker == kNoSlot) maker = is_running ? slot : running_beside(state, slot);
  return maker;
}

// Whether user code is to come to its end by itself.
bool runs(const State& state, Slot slot) {
  const InputEntry& input = state.inputs[slot];
  return input.batch == kNoSlot ? input.state == InputState::running
                                : !state.batches[input.batch].is_over;
}

// Containers that would have to let go of something for a pool to go on.
using InTheWay = std::vector<Slot>;

// Nothing where one of them is about to.
bool add_containers(const State& state, const State::Pool& pool, InTheWay& containers) {
  for (const auto group : {State::kStarting, State::kIdle, State::kStopping}) {
    if (!pool.groups[group].empty()) return false;
  }
  const auto& busy = pool.groups[State::kBusy];
  for (Slot slot = busy.front(); slot != kNoSlot; slot = busy.next(state.containers, slot)) {
    containers.push_back(slot);
  }
  return true;
}

// Its function has all the containers that it may have.
std::optional<InTheWay> in_the_way_at_maximum(const State& state, const State::Pool& pool) {
  InTheWay containers;
  for (const Slot slot : state.functions[pool.function].pools) {
    if (!add_containers(state, state.pools[slot], containers)) return std::nullopt;
  }
  return containers;
}

// A device that it could use will be free without anybody's call having ended.
bool is_to_be_free(const State& state, const State::Pool& pool, const FleetNode& node,
                   const Device& device) {
  const GpuDemand& demand = pool.settings.resources.gpu;
  if (node.is_free(device) || node.is_leased(device.id)) return true;
  if (device.state == DeviceState::in_use) return true;
  return demand.is_share() &&
         node.share_room(device, state.workspace_of(pool)) >= demand.share_bytes;
}

// Whether the container holds something of what the pool is short of.
bool competes(const State& state, const State::Pool& pool, const State::Container& container) {
  const GpuDemand& demand = pool.settings.resources.gpu;
  if (demand.empty()) return true;
  const FleetNode* node = state.fleet.find(container.node);
  if (!node) return false;
  const auto held = node->reservations.find(container.id);
  if (held == node->reservations.end()) return false;
  return std::ranges::any_of(node->capacity.devices, [&](const Device& device) {
    return accepts(demand, device) && std::ranges::count(held->second.devices, device.id) > 0;
  });
}

// The fleet has no room for it.
std::optional<InTheWay> in_the_way_on_fleet(const State& state, const State::Pool& pool) {
  const bool no_room = pool.backlog_order != 0 && pool.refusal_retry == Time::never();
  if (!no_room || pool.backoff.holds(state.now)) return std::nullopt;
  if (!could_ever_place(state.fleet, pool.settings.resources)) return std::nullopt;
  const GpuDemand& demand = pool.settings.resources.gpu;
  for (const FleetNode& node : state.fleet.nodes()) {
    for (const Device& device : node.capacity.devices) {
      if (accepts(demand, device) && is_to_be_free(state, pool, node, device)) return std::nullopt;
    }
  }
  InTheWay containers;
  for (const Slot slot : slots_by_id(state.containers)) {
    const State::Container& container = state.containers[slot];
    const bool own = state.pools[container.pool].id == pool.id;
    if (!own && !competes(state, pool, container)) continue;
    if (container.stage != State::Stage::ready) return std::nullopt;
    containers.push_back(slot);
  }
  return containers;
}

std::optional<InTheWay> in_the_way_of(const State& state, const State::Pool& pool) {
  if (!pool.free_slots.empty()) return std::nullopt;  // its inputs wait for more to run with
  const State::Function& function = state.functions[pool.function];
  auto found = function.held >= function.max_containers ? in_the_way_at_maximum(state, pool)
                                                        : in_the_way_on_fleet(state, pool);
  return found && found->empty() ? std::nullopt : found;
}

class Look {
 public:
  Look(const State& state, Slot pool) : state_(state), pool_(pool) {
    suspect(pool);
    while (clear_one()) {
    }
  }

  bool finds_deadlock() const { return suspects_.contains(pool_); }
  std::size_t containers() const { return suspects_.at(pool_).size(); }

  // What one parent waits for in vain: of all that hold what the pool needs, the newest.
  std::vector<Slot> victims() {
    std::vector<Slot> victims;
    const auto& awaited = state_.inputs[state_.inputs[first_in_vain(newest())].parent].awaited;
    for (Slot slot = awaited.front(); slot != kNoSlot; slot = awaited.next(state_.inputs, slot)) {
      if (waits_in_vain(slot)) victims.push_back(slot);
    }
    return victims;
  }

 private:
  void suspect(Slot pool) {
    if (suspects_.contains(pool)) return;
    auto containers = in_the_way_of(state_, state_.pools[pool]);
    if (!containers) return;
    const auto& kept = suspects_[pool] = *std::move(containers);
    for (const Slot container : InTheWay(kept)) {
      const auto& inputs = state_.containers[container].inputs;
      for (Slot slot = inputs.front(); slot != kNoSlot; slot = inputs.next(state_.inputs, slot)) {
        suspect_what_it_awaits(slot);
      }
    }
  }

  void suspect_what_it_awaits(Slot input) {
    const Slot maker = maker_of_calls(state_, input);
    if (!followed_.insert(maker).second) return;
    const auto& awaited = state_.inputs[maker].awaited;
    for (Slot slot = awaited.front(); slot != kNoSlot; slot = awaited.next(state_.inputs, slot)) {
      if (state_.inputs[slot].state == InputState::waiting) suspect(state_.inputs[slot].pool);
      suspect_what_it_awaits(slot);
    }
  }

  bool clear_one() {
    const auto found = std::ranges::find_if(suspects_, [&](const auto& one) {
      return !std::ranges::all_of(one.second, [&](Slot slot) { return is_held(slot); });
    });
    if (found == suspects_.end()) return false;
    suspects_.erase(found);
    in_vain_.clear();
    return true;
  }

  // All that the container runs waits in vain.
  bool is_held(Slot container) {
    const auto& inputs = state_.containers[container].inputs;
    for (Slot slot = inputs.front(); slot != kNoSlot; slot = inputs.next(state_.inputs, slot)) {
      if (!runs(state_, slot) || awaited_in_vain(slot) == kNoSlot) return false;
    }
    return !inputs.empty();
  }

  // One that a running input waits for and that will not come; kNoSlot if there is none.
  Slot awaited_in_vain(Slot input) {
    const Slot maker = maker_of_calls(state_, input);
    const auto known = in_vain_.find(maker);
    if (known != in_vain_.end()) return known->second;
    return in_vain_[maker] = find_in_vain(state_.inputs[maker]);
  }

  Slot find_in_vain(const InputEntry& maker) {
    const auto& awaited = maker.awaited;
    for (Slot slot = awaited.front(); slot != kNoSlot; slot = awaited.next(state_.inputs, slot)) {
      const bool started = state_.inputs[slot].state == InputState::running;
      if (waits_in_vain(slot) || (started && awaited_in_vain(slot) != kNoSlot)) return slot;
    }
    return kNoSlot;
  }

  bool waits_in_vain(Slot input) const {
    return state_.inputs[input].state == InputState::waiting &&
           suspects_.contains(state_.inputs[input].pool);
  }

  Slot newest() const {
    Slot newest = kNoSlot;
    for (const Slot container : suspects_.at(pool_)) {
      const auto& inputs = state_.containers[container].inputs;
      for (Slot slot = inputs.front(); slot != kNoSlot; slot = inputs.next(state_.inputs, slot)) {
        if (newest == kNoSlot || state_.inputs[newest].order < state_.inputs[slot].order) {
          newest = slot;
        }
      }
    }
    return maker_of_calls(state_, newest);
  }

  // The one at the end of the chain that begins with a running input: it waits for a slot.
  Slot first_in_vain(Slot input) {
    do {
      input = awaited_in_vain(input);
    } while (state_.inputs[input].state == InputState::running);
    return input;
  }

  const State& state_;
  const Slot pool_;
  std::map<Slot, InTheWay> suspects_;  // pools; in no order that counts
  std::set<Slot> followed_;            // inputs whose calls have been looked at
  std::map<Slot, Slot> in_vain_;       // awaited_in_vain() of inputs, while the suspects stay
};

bool run_as_one(const State& state, Slot a, Slot b) {
  const Slot batch = state.inputs[a].batch;
  return a == b || (batch != kNoSlot && batch == state.inputs[b].batch);
}

// Whether `input` waits for `other`, directly or over what it waits for: those who wait for one of
// a batch wait for all of it. `been`: batches that have been gone through.
bool waits_for(const State& state, Slot input, Slot other, std::vector<Slot>& been) {
  for (Slot slot = other; slot != kNoSlot; slot = state.inputs[slot].parent) {
    if (run_as_one(state, input, slot)) return true;
    const InputEntry& one = state.inputs[slot];
    if (one.batch == kNoSlot) continue;
    if (std::ranges::count(been, one.batch) > 0) return false;
    been.push_back(one.batch);
    const auto& inputs = state.containers[one.container].inputs;
    for (Slot beside = inputs.front(); beside != kNoSlot;
         beside = inputs.next(state.inputs, beside)) {
      const InputEntry& other_one = state.inputs[beside];
      if (beside == slot || other_one.batch != one.batch) continue;
      if (waits_for(state, input, other_one.parent, been)) return true;
    }
  }
  return false;
}

}  // namespace

void handle_event(State& state, const InputAwaited& event) {
  const Slot slot = state.input_index.find(event.input);
  if (slot == kNoSlot || state.inputs[slot].parent != kNoSlot) return;
  const InputEntry& input = state.inputs[slot];
  if (input.state == InputState::ending && !input.retries) return;
  await(state, slot, event.parent);
  if (input.parent == kNoSlot || input.state != InputState::waiting) return;
  begin_waiting(state, slot);
  arm_pool(state, input.pool);
}

void await(State& state, Slot slot, InputId parent_id) {
  const Slot named = state.input_index.find(parent_id);
  const Slot parent = named == kNoSlot ? kNoSlot : appoint_maker(state, named);
  std::vector<Slot> been;
  if (parent == kNoSlot || waits_for(state, slot, parent, been)) return;
  state.inputs[slot].parent = parent;
  state.inputs[parent].awaited.push_back(state.inputs, slot);
}

void leave_parent(State& state, Slot slot) {
  InputEntry& input = state.inputs[slot];
  if (input.parent == kNoSlot) return;
  state.inputs[input.parent].awaited.remove(state.inputs, slot);
  input.parent = kNoSlot;
}

void leave_children(State& state, Slot slot) {
  InputEntry& input = state.inputs[slot];
  auto& awaited = input.awaited;
  if (input.batch != kNoSlot && state.batches[input.batch].maker == slot) {
    const Slot heir = state.batches[input.batch].maker = running_beside(state, slot);
    while (heir != kNoSlot && !awaited.empty()) {
      const Slot child = awaited.front();
      awaited.remove(state.inputs, child);
      state.inputs[child].parent = heir;
      state.inputs[heir].awaited.push_back(state.inputs, child);
    }
  }
  while (!awaited.empty()) {
    const Slot child = awaited.front();
    if (state.inputs[child].state == InputState::waiting) end_waiting(state, child);
    leave_parent(state, child);
  }
}

void begin_waiting(State& state, Slot slot) {
  const InputEntry& input = state.inputs[slot];
  if (input.parent == kNoSlot) return;
  State::Pool& pool = state.pools[input.pool];
  if (pool.awaited++ == 0) pool.next_look = state.now + state.options.deadlock_look;
}

void end_waiting(State& state, Slot slot) {
  const InputEntry& input = state.inputs[slot];
  if (input.parent == kNoSlot) return;
  State::Pool& pool = state.pools[input.pool];
  if (--pool.awaited > 0) return;
  pool.next_look = Time::never();
  pool.seems_stuck = false;
}

void look_for_deadlock(State& state, Slot pool_slot) {
  State::Pool& pool = state.pools[pool_slot];
  if (pool.next_look > state.now) return;
  pool.next_look = state.now + state.options.deadlock_look;
  Look look(state, pool_slot);
  const bool seemed_stuck = pool.seems_stuck;
  pool.seems_stuck = look.finds_deadlock();
  if (!seemed_stuck || !pool.seems_stuck) return;
  const Reason reason{ReasonCode::deadlocked, static_cast<std::int64_t>(look.containers())};
  std::vector<Slot> others;
  for (const Slot victim : look.victims()) {
    const Slot waited_in = state.inputs[victim].pool;
    fail_waiting_input(state, victim, {ErrorCode::conflict, reason, {}});
    if (waited_in != pool_slot && std::ranges::count(others, waited_in) == 0) {
      others.push_back(waited_in);
    }
  }
  for (const Slot other : others) rescale(state, other);
}

}  // namespace ember
