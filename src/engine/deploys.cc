// Apps come in versions: the newest one's pools take new inputs, earlier ones finish what they
// have.
#include <algorithm>
#include <utility>

#include "engine/steps.h"

namespace ember {
namespace {

template <class Record, class IdType>
Slot find_or_add(Slab<Record>& slab, IdIndex<IdType>& index, IdType id) {
  Slot slot = index.find(id);
  if (slot != kNoSlot) return slot;
  slot = slab.add();
  slab[slot].id = id;
  index.insert(id, slot);
  return slot;
}

// The pool that this one replaces, or that replaces it, while both serve; kNoSlot: none.
Slot other_in_rollout(const State& state, const State::Pool& pool) {
  const Slot before = state.predecessor_of(pool);
  if (before != kNoSlot || !pool.replaced_by) return before;
  const Slot after = state.pool_index.find(pool.replaced_by);
  const bool rises = after != kNoSlot && state.predecessor_of(state.pools[after]) != kNoSlot;
  return rises ? after : kNoSlot;
}

// Its function has its maximum; while a version comes up beside another, the higher one.
void set_maximum(State& state, Slot slot) {
  const State::Pool& pool = state.pools[slot];
  std::uint32_t most = pool.settings.scaling.max_containers;
  if (const Slot other = other_in_rollout(state, pool); other != kNoSlot) {
    most = std::max(most, state.pools[other].settings.scaling.max_containers);
  }
  state.functions[pool.function].max_containers = most;
}

Slot add_pool(State& state, AppId app_id, WorkspaceId workspace_id, const PoolSpec& spec) {
  const Slot workspace = find_or_add(state.workspaces, state.workspace_index, workspace_id);
  const Slot app = find_or_add(state.apps, state.app_index, app_id);
  const Slot function = find_or_add(state.functions, state.function_index, spec.function);
  const Slot slot = state.pools.add();
  State::Pool& pool = state.pools[slot];
  pool.id = spec.pool;
  pool.function = function;
  pool.app = app;
  pool.workspace = workspace;
  pool.settings = spec.settings;
  pool.spread = spec.spread;
  pool.replaces = spec.replaces;
  const Slot replaced = state.pool_index.find(spec.replaces);
  if (replaced != kNoSlot) state.pools[replaced].replaced_by = spec.pool;
  state.functions[function].pools.push_back(slot);
  state.apps[app].pools.push_back(slot);
  ++state.workspaces[workspace].pools;
  state.pool_index.insert(spec.pool, slot);
  set_maximum(state, slot);
  return slot;
}

bool names(const AppDeployed& event, PoolId pool) {
  return std::any_of(event.pools.begin(), event.pools.end(),
                     [&](const PoolSpec& spec) { return spec.pool == pool; });
}

// Until now these containers were held back: nobody could have called them.
void be_idle_from_now(State& state, const State::Pool& pool) {
  const auto& idle = pool.groups[State::kIdle];
  for (Slot slot = idle.front(); slot != kNoSlot; slot = idle.next(state.containers, slot)) {
    state.containers[slot].idle_since = state.now;
  }
}

// The rollout of a version is over: it has taken over, or has been withdrawn.
void settle(State& state, Slot slot) {
  State::Pool& pool = state.pools[slot];
  const Slot replaced = pool.replaces ? state.pool_index.find(pool.replaces) : kNoSlot;
  if (replaced == kNoSlot || state.predecessor_of(pool) != kNoSlot) return;
  State::Pool& before = state.pools[replaced];
  const bool took_over = pool.ended == ReasonCode::none && before.ended == ReasonCode::retired;
  if (took_over && before.live() == 0) {
    move_waiting(state, replaced, slot);
    dispatch_waiting(state, slot);
  }
  pool.replaces = {};
  if (before.replaced_by == pool.id) before.replaced_by = {};
  if (took_over) {
    be_idle_from_now(state, pool);
    set_maximum(state, slot);
  }
  if (before.ended == ReasonCode::none) set_maximum(state, replaced);
}

// Nobody waits for these containers any more: busy ones stop as their inputs let go of them.
void stop_idle(State& state, Slot pool_slot) {
  State::Pool& pool = state.pools[pool_slot];
  for (const State::Group group : {State::kIdle, State::kStarting}) {
    while (!pool.groups[group].empty()) {
      stop_container(state, pool.groups[group].front(), StopMode::graceful,
                     {ReasonCode::app_stopped});
    }
  }
  for (Slot slot = pool.groups[State::kBusy].front(); slot != kNoSlot;) {
    const Slot next = pool.groups[State::kBusy].next(state.containers, slot);
    if (state.containers[slot].stage == State::Stage::unknown) {
      stop_container(state, slot, StopMode::kill, {ReasonCode::app_stopped});
    }
    slot = next;
  }
}

void stop_pool(State& state, Slot slot) {
  State::Pool& pool = state.pools[slot];
  const InputFailure failure{ErrorCode::cancelled, {ReasonCode::app_stopped}, {}};
  pool.ended = ReasonCode::app_stopped;
  fail_waiting(state, slot, failure);
  fail_delayed(state, slot, failure);
  while (!pool.running.empty()) end_early(state, pool.running.front(), failure);
  stop_idle(state, slot);
}

template <class Record, class IdType>
void forget_if_empty(Slab<Record>& slab, IdIndex<IdType>& index, Slot slot, Slot pool) {
  std::erase(slab[slot].pools, pool);
  if (!slab[slot].pools.empty()) return;
  index.erase(slab[slot].id);
  slab.remove(slot);
}

void leave_workspace(State& state, Slot slot) {
  State::Workspace& workspace = state.workspaces[slot];
  if (--workspace.pools > 0) return;
  state.workspace_index.erase(workspace.id);
  state.workspaces.remove(slot);
}

}  // namespace

void handle_event(State& state, const AppDeployed& event) {
  if (!event.app || !event.workspace) return;
  const Slot app = state.app_index.find(event.app);
  std::vector<Slot> touched = app == kNoSlot ? std::vector<Slot>{} : state.apps[app].pools;
  for (const Slot slot : touched) {
    State::Pool& pool = state.pools[slot];
    if (pool.ended == ReasonCode::none && !names(event, pool.id)) pool.ended = ReasonCode::retired;
  }
  for (const PoolSpec& spec : event.pools) {
    if (!spec.pool || !spec.function || state.pool_index.find(spec.pool) != kNoSlot) continue;
    touched.push_back(add_pool(state, event.app, event.workspace, spec));
  }
  for (const Slot slot : touched) settle(state, slot);
  for (const Slot slot : touched) rescale(state, slot);
}

void handle_event(State& state, const PoolAdded& event) {
  const PoolSpec& spec = event.pool;
  const Slot app = state.app_index.find(event.app);
  if (app == kNoSlot || !spec.pool || !spec.function) return;
  if (state.pool_index.find(spec.pool) != kNoSlot) return;
  const std::vector<Slot>& pools = state.apps[app].pools;
  const auto serving = std::find_if(pools.begin(), pools.end(), [&](Slot slot) {
    return state.pools[slot].ended == ReasonCode::none;
  });
  if (serving == pools.end()) return;
  const WorkspaceId workspace = state.workspace_of(state.pools[*serving]);
  rescale(state, add_pool(state, event.app, workspace, spec));
}

void handle_event(State& state, const ScalingChanged& event) {
  const Slot slot = state.pool_index.find(event.pool);
  if (slot == kNoSlot || state.pools[slot].ended != ReasonCode::none) return;
  State::Pool& pool = state.pools[slot];
  const Scaling before = std::exchange(pool.settings.scaling, event.scaling);
  pool.settings.scaling.max_inputs = before.max_inputs;
  pool.settings.scaling.target_inputs = before.target_inputs;
  const Slot function = pool.function;
  set_maximum(state, slot);
  rescale_function(state, function);
}

void handle_event(State& state, const AppStopped& event) {
  const Slot app = state.app_index.find(event.app);
  if (app == kNoSlot) return;
  const std::vector<Slot> pools = state.apps[app].pools;  // rescale may forget some
  for (const Slot slot : pools) stop_pool(state, slot);
  for (const Slot slot : pools) rescale(state, slot);
}

void handle_event(State& state, const RecoveryEnded&) {
  if (!state.recovering) return;
  state.recovering = false;
  grant_waiting_leases(state);
  for (const Slot slot : slots_by_id(state.pools)) rescale(state, slot);
}

void handle_event(State& state, const DrainStarted&) {
  if (state.draining) return;
  state.draining = true;
  for (const Slot slot : slots_by_id(state.pools)) rescale(state, slot);
}

void forget_if_done(State& state, Slot slot) {
  const State::Pool& pool = state.pools[slot];
  if (pool.ended == ReasonCode::none || pool.held() > 0 || pool.has_work()) return;
  if (pool.backlog_order != 0) {
    state.backlog.remove(state.shape_of(pool), pool.backlog_order, slot);
  }
  state.pool_deadlines.remove(state.pools, slot);
  state.pool_index.erase(pool.id);
  forget_if_empty(state.functions, state.function_index, pool.function, slot);
  forget_if_empty(state.apps, state.app_index, pool.app, slot);
  leave_workspace(state, pool.workspace);
  state.pools.remove(slot);
}

}  // namespace ember
