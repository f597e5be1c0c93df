// max_containers holds over all versions of a function together. So a pool that has work can be
// left without a container while others of its function hold them all. And a newer version that is
// to take over once it is up may find no room to come up in while the one before it holds that.
#include <algorithm>

#include "engine/steps.h"

namespace ember {
namespace {

bool is_ended(const State::Pool& pool) { return pool.ended != ReasonCode::none; }

// Stops and yields that are under way make room already.
bool room_is_coming(const State& state, const State::Function& function) {
  if (function.yielding > 0) return true;
  for (const Slot pool : function.pools) {
    if (!state.pools[pool].groups[State::kStopping].empty()) return true;
  }
  return false;
}

// One may be kept for what waits for its batch; those of a version that comes up are its floor.
bool has_spare_idle(const State& state, const State::Pool& pool) {
  if (state.predecessor_of(pool) != kNoSlot) return false;
  return pool.groups[State::kIdle].size() > (pool.waiting.empty() ? 0u : 1u);
}

// The pool to take an idle container from: a retired one, else the oldest.
const State::Pool* idle_donor(const State& state, const State::Function& function) {
  const State::Pool* donor = nullptr;
  for (const Slot slot : function.pools) {
    const State::Pool& pool = state.pools[slot];
    if (!has_spare_idle(state, pool)) continue;
    if (!donor || (is_ended(pool) && !is_ended(*donor))) donor = &pool;
  }
  return donor;
}

// One that takes inputs.
Slot busy_container(const State& state, const State::Pool& pool) {
  const auto& busy = pool.groups[State::kBusy];
  for (Slot slot = busy.front(); slot != kNoSlot; slot = busy.next(state.containers, slot)) {
    const State::Container& container = state.containers[slot];
    if (container.stage == State::Stage::ready && !container.yielding) return slot;
  }
  return kNoSlot;
}

// A container of the newest version, under load and never idle, is to run empty.
Slot busy_donor(const State& state, const State::Function& function) {
  for (const Slot pool_slot : function.pools) {
    const State::Pool& pool = state.pools[pool_slot];
    const Slot slot = is_ended(pool) ? kNoSlot : busy_container(state, pool);
    if (slot != kNoSlot) return slot;
  }
  return kNoSlot;
}

// It takes no more inputs, and stops as the last one leaves it.
void let_run_empty(State& state, Slot slot) {
  State::Container& container = state.containers[slot];
  container.yielding = true;
  ++state.functions[state.pools[container.pool].function].yielding;
  update_free_slots(state, slot);
}

// Whether the rest of its version has come up, but for what finds no room either: what gives room
// is without it until all of the version takes over.
bool is_last_to_rise(const State& state, const State::Pool& pool) {
  for (const Slot slot : state.apps[pool.app].pools) {
    const State::Pool& other = state.pools[slot];
    if (other.id == pool.id || state.predecessor_of(other) == kNoSlot) continue;
    const State::Function& function = state.functions[other.function];
    const bool lacks_room =
        other.taken > 0 || other.backlog_order != 0 || function.held >= function.max_containers;
    const std::uint32_t ready =
        other.groups[State::kIdle].size() + other.groups[State::kBusy].size();
    if (!lacks_room && ready < other.half_of_floor()) return false;
  }
  return true;
}

}  // namespace

void make_room(State& state, Slot pool_slot) {
  const State::Pool& pool = state.pools[pool_slot];
  State::Function& function = state.functions[pool.function];
  if (room_is_coming(state, function)) return;
  if (const State::Pool* donor = idle_donor(state, function)) {
    const Reason reason =
        is_ended(*donor) ? Reason{donor->ended}
                         : Reason{ReasonCode::over_desired, function.held, function.max_containers};
    return stop_container(state, donor->groups[State::kIdle].front(), StopMode::graceful, reason);
  }
  // Only what is retired can ask for that: its work is finite, so both come to their turn.
  const Slot slot = is_ended(pool) ? busy_donor(state, function) : kNoSlot;
  if (slot == kNoSlot) {
    const auto wanted =
        is_ended(pool) ? State::RoomWanted::any_container : State::RoomWanted::idle_container;
    function.room_wanted = std::max(function.room_wanted, wanted);
    return;
  }
  let_run_empty(state, slot);
}

void take_room(State& state, Slot pool_slot) {
  State::Pool& pool = state.pools[pool_slot];
  const Slot slot = state.predecessor_of(pool);
  if (slot == kNoSlot || pool.taken >= pool.half_of_floor()) return;
  if (room_is_coming(state, state.functions[pool.function])) return;
  if (!is_last_to_rise(state, pool)) return;
  const State::Pool& giver = state.pools[slot];
  const Reason reason{ReasonCode::retired};
  if (!giver.groups[State::kIdle].empty()) {
    ++pool.taken;
    return stop_container(state, giver.groups[State::kIdle].front(), StopMode::graceful, reason);
  }
  const Slot busy = busy_container(state, giver);
  if (busy == kNoSlot) return;
  ++pool.taken;
  state.containers[busy].stop_reason = reason;
  let_run_empty(state, busy);
}

void offer_room(State& state, Slot pool_slot) {
  const State::Pool& pool = state.pools[pool_slot];
  State::Function& function = state.functions[pool.function];
  const bool any = function.room_wanted == State::RoomWanted::any_container;
  const bool has_idle = has_spare_idle(state, pool);
  const bool has_busy = !pool.groups[State::kBusy].empty();
  if (!has_idle && !(any && has_busy)) return;
  function.room_wanted = State::RoomWanted::none;
  const std::vector<Slot> pools = function.pools;  // rescale may forget some
  for (const Slot slot : pools) {
    if (state.pools[slot].is_starved()) rescale(state, slot);
  }
}

}  // namespace ember
