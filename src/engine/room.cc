// max_containers holds over all versions of a function together. So a pool that has work can be
// left without a container while others of its function hold them all.
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

// One may be kept for what waits for its batch.
bool has_spare_idle(const State::Pool& pool) {
  return pool.groups[State::kIdle].size() > (pool.waiting.empty() ? 0u : 1u);
}

// The pool to take an idle container from: a retired one, else the oldest.
const State::Pool* idle_donor(const State& state, const State::Function& function) {
  const State::Pool* donor = nullptr;
  for (const Slot slot : function.pools) {
    const State::Pool& pool = state.pools[slot];
    if (!has_spare_idle(pool)) continue;
    if (!donor || (is_ended(pool) && !is_ended(*donor))) donor = &pool;
  }
  return donor;
}

// A container of the newest version, under load and never idle, is to run empty.
Slot busy_donor(const State& state, const State::Function& function) {
  for (const Slot pool_slot : function.pools) {
    const State::Pool& pool = state.pools[pool_slot];
    if (is_ended(pool)) continue;
    const auto& busy = pool.groups[State::kBusy];
    for (Slot slot = busy.front(); slot != kNoSlot; slot = busy.next(state.containers, slot)) {
      if (state.containers[slot].stage == State::Stage::ready) return slot;
    }
  }
  return kNoSlot;
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
  state.containers[slot].yielding = true;
  ++function.yielding;
  update_free_slots(state, slot);
}

void offer_room(State& state, Slot pool_slot) {
  const State::Pool& pool = state.pools[pool_slot];
  State::Function& function = state.functions[pool.function];
  const bool any = function.room_wanted == State::RoomWanted::any_container;
  const bool has_idle = has_spare_idle(pool);
  const bool has_busy = !pool.groups[State::kBusy].empty();
  if (!has_idle && !(any && has_busy)) return;
  function.room_wanted = State::RoomWanted::none;
  const std::vector<Slot> pools = function.pools;  // rescale may forget some
  for (const Slot slot : pools) {
    if (state.pools[slot].is_starved()) rescale(state, slot);
  }
}

}  // namespace ember
