// How many containers a pool has: joins the autoscaler's wish with what the function, the fleet and
// earlier failures allow.
#include <algorithm>

#include "base/assert.h"
#include "engine/steps.h"
#include "scheduler/filter.h"
#include "scheduler/place.h"

namespace ember {
namespace {

enum class Growth : std::uint8_t {
  done,     // all started that were asked for
  held,     // the pool or its function may not have more now
  no_room,  // the fleet has no room; the pool stands in the backlog
};

Reason start_reason(const State::Pool& pool, const Desired& desired) {
  const Scaling& scaling = pool.settings.scaling;
  if (pool.live() < desired.demand) {
    return {ReasonCode::demand, pool.in_flight + pool.waiting.size(), pool.target_inputs()};
  }
  if (pool.live() < scaling.min_containers) {
    return {ReasonCode::min_containers, scaling.min_containers};
  }
  return {ReasonCode::buffer_containers, scaling.buffer_containers};
}

bool may_start(State& state, Slot pool_slot) {
  const State::Pool& pool = state.pools[pool_slot];
  if (pool.backoff.holds(state.now)) return false;
  // After a failure one container tries for all.
  if (pool.backoff.failures() > 0 && !pool.groups[State::kStarting].empty()) return false;
  if (state.taker_of_room(pool) != kNoSlot) return false;
  const State::Function& function = state.functions[pool.function];
  if (function.held < function.max_containers) return true;
  if (pool.is_starved()) make_room(state, pool_slot);
  take_room(state, pool_slot);
  return false;
}

// Whether a container of the pool is likely to fit where one of the pool that it replaces was.
bool fits_in_place_of_predecessor(const State& state, const State::Pool& pool) {
  const Slot slot = state.predecessor_of(pool);
  if (slot == kNoSlot) return false;
  const Resources& wanted = pool.settings.resources;
  const Resources& given = state.pools[slot].settings.resources;
  return wanted.cpu_millicores <= given.cpu_millicores &&
         wanted.memory_bytes <= given.memory_bytes && wanted.gpu == given.gpu;
}

void start(State& state, Slot pool_slot, const Placement& placement, const Reason& reason) {
  EMBER_ASSERT(state.next_container <= 0xFFFF'FFFFu);
  const ContainerId id{(std::uint64_t{state.options.epoch} << 32) | state.next_container++};
  const Slot slot = add_container(state, id, pool_slot, placement.node);
  state.containers[slot].start_reason = reason;
  reserve(state, slot, placement.devices);
  arm_container(state, slot);
  state.actions.emplace_back(
      StartContainer{id, state.pools[pool_slot].id, placement.node, placement.devices, reason});
}

// The containers of a pool that lies apart, in no order that counts.
std::vector<Peer> peers_of(const State& state, const State::Pool& pool) {
  std::vector<Peer> peers;
  if (pool.spread == Spread::packed) return peers;
  for (const auto& group : pool.groups) {
    for (Slot slot = group.front(); slot != kNoSlot; slot = group.next(state.containers, slot)) {
      peers.push_back({state.containers[slot].id, state.containers[slot].node});
    }
  }
  return peers;
}

Growth grow(State& state, Slot pool_slot, std::uint32_t count) {
  State::Pool& pool = state.pools[pool_slot];
  for (; count > 0; --count) {
    if (!may_start(state, pool_slot)) return Growth::held;
    const std::vector<Peer> peers = peers_of(state, pool);
    const Tenant tenant{pool.settings.resources, state.workspace_of(pool), peers};
    const auto placement = place(state.fleet, tenant, pool.refusals.avoid(state.now));
    if (!placement) {
      pool.backlog_order = state.backlog.add(state.shape_of(pool), pool_slot);
      pool.refusal_retry = pool.refusals.next_retry(state.now);
      if (fits_in_place_of_predecessor(state, pool)) take_room(state, pool_slot);
      return Growth::no_room;
    }
    start(state, pool_slot, *placement, start_reason(pool, state.desired(pool)));
  }
  return Growth::done;
}

void leave_backlog(State& state, Slot pool_slot) {
  State::Pool& pool = state.pools[pool_slot];
  state.backlog.remove(state.shape_of(pool), pool.backlog_order, pool_slot);
  pool.backlog_order = 0;
  pool.refusal_retry = Time::never();
}

// What an ending pool does not need goes at once: idle containers, then those still starting,
// newest first.
void shrink_ending(State& state, State::Pool& pool, std::uint32_t surplus) {
  const Reason reason{state.end_reason(pool)};
  for (; surplus > 0; --surplus) {
    const bool idle = !pool.groups[State::kIdle].empty();
    if (!idle && pool.groups[State::kStarting].empty()) return;
    stop_container(state,
                   idle ? pool.groups[State::kIdle].front() : pool.groups[State::kStarting].back(),
                   StopMode::graceful, reason);
  }
}

// The longest idle one is the first in its list.
void shrink_serving(State& state, State::Pool& pool, std::uint32_t surplus) {
  const Duration window = pool.settings.scaling.scaledown_window;
  for (; surplus > 0 && !pool.groups[State::kIdle].empty(); --surplus) {
    const Slot slot = pool.groups[State::kIdle].front();
    const Duration idle = state.now - state.containers[slot].idle_since;
    if (idle < window) return;
    stop_container(state, slot, StopMode::graceful,
                   {ReasonCode::idle_window_over, idle.whole_ms()});
  }
}

// One container for a pool of the backlog. A pool that wants more goes to the end of the line.
Growth grow_by_one(State& state, Slot pool_slot) {
  leave_backlog(state, pool_slot);
  State::Pool& pool = state.pools[pool_slot];
  if (state.desired(pool).containers <= pool.live()) return Growth::held;
  const Growth growth = grow(state, pool_slot, 1);
  if (growth == Growth::done && state.desired(pool).containers > pool.live()) {
    pool.backlog_order = state.backlog.add(state.shape_of(pool), pool_slot);
  }
  return growth;
}

}  // namespace

void rescale(State& state, Slot pool_slot) {
  if (state.recovering) return arm_pool(state, pool_slot);
  State::Pool& pool = state.pools[pool_slot];
  const std::uint32_t desired = state.desired(pool).containers;
  const std::uint32_t live = pool.live();
  if (pool.backlog_order != 0 && pool.refusal_retry <= state.now) leave_backlog(state, pool_slot);
  if (live < desired && pool.backlog_order == 0) {
    const bool lacked_room = pool.taken > 0 && live < pool.half_of_floor();
    grow(state, pool_slot, desired - live);
    const Slot predecessor = state.predecessor_of(pool);
    if (lacked_room && predecessor != kNoSlot) rescale(state, predecessor);
  } else if (live > desired) {
    state.mode(pool) == PoolMode::ending ? shrink_ending(state, pool, live - desired)
                                         : shrink_serving(state, pool, live - desired);
  }
  arm_pool(state, pool_slot);
  if (state.functions[pool.function].room_wanted != State::RoomWanted::none) {
    offer_room(state, pool_slot);
  }
  if (pool.ended != ReasonCode::none) forget_if_done(state, pool_slot);
}

void rescale_rising(State& state, Slot app) {
  const std::vector<Slot> pools = state.apps[app].pools;  // rescale may forget some
  for (const Slot pool : pools) {
    if (state.predecessor_of(state.pools[pool]) != kNoSlot) rescale(state, pool);
  }
}

void rescale_function(State& state, Slot function) {
  const std::vector<Slot> pools = state.functions[function].pools;  // rescale may forget some
  // Room that was made for a pool without containers is not to go back to the one that gave it.
  for (const Slot pool : pools) {
    if (state.pools[pool].is_starved()) rescale(state, pool);
  }
  for (const Slot pool : pools) {
    if (!state.pools[pool].is_starved()) rescale(state, pool);
  }
}

void use_room(State& state) {
  grant_waiting_leases(state);
  std::vector<Backlog::Shape> full;
  std::vector<Slot> turned_away;  // by nodes they may not ask again yet; the shape may still fit
  for (;;) {
    const Backlog::Want want = state.backlog.oldest(full);
    if (want.pool == kNoSlot) break;
    const Backlog::Shape shape = *want.shape;
    State::Pool& pool = state.pools[want.pool];
    if (grow_by_one(state, want.pool) == Growth::no_room) {
      if (pool.refusal_retry == Time::never()) {
        full.push_back(shape);
      } else {
        state.backlog.remove(shape, pool.backlog_order, want.pool);
        turned_away.push_back(want.pool);
      }
    }
    arm_pool(state, want.pool);
  }
  for (const Slot slot : turned_away) {
    State::Pool& pool = state.pools[slot];
    pool.backlog_order = state.backlog.add(state.shape_of(pool), slot);
  }
}

}  // namespace ember
