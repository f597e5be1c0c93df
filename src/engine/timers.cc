// What happens because time passes: inputs whose time has come, execution deadlines and idle
// windows of pools, usage windows, startup limits and kills of containers.
#include <algorithm>

#include "engine/steps.h"

namespace ember {
namespace {

// Over all ending inputs of the container. Only looked at when one of them is due.
Slot first_to_kill_for(const State& state, const State::Container& container) {
  Slot first = kNoSlot;
  for (Slot slot = container.inputs.front(); slot != kNoSlot;
       slot = container.inputs.next(state.inputs, slot)) {
    const InputEntry& input = state.inputs[slot];
    if (input.state != InputState::ending) continue;
    if (first == kNoSlot || input.kill_at < state.inputs[first].kill_at) first = slot;
  }
  return first;
}

void time_out_inputs(State& state, State::Pool& pool) {
  const Duration timeout = pool.settings.timeout;
  while (!pool.running.empty()) {
    const Slot slot = pool.running.front();
    const InputEntry& input = state.inputs[slot];
    if (input.dispatched + timeout > state.now) return;
    end_early(state, slot,
              {ErrorCode::timed_out,
               {ReasonCode::execution_timed_out, timeout.whole_ms()},
               state.containers[input.container].id});
  }
}

void pool_due(State& state, Slot slot) {
  state.pool_deadlines.remove(state.pools, slot);
  time_out_inputs(state, state.pools[slot]);
  dispatch_batches(state, slot);
  look_for_deadlock(state, slot);
  rescale(state, slot);
}

void startup_due(State& state, Slot slot) {
  const State::Container& container = state.containers[slot];
  const Slot pool = container.pool;
  const ContainerId id = container.id;
  const bool adopted = container.stage == State::Stage::unknown;
  const Duration given = container.start_deadline - container.placed;
  stop_container(state, slot, StopMode::kill, {ReasonCode::startup_timed_out, given.whole_ms()});
  if (!adopted) count_failed_start(state, pool, id);
}

void kill_due(State& state, Slot slot) {
  State::Container& container = state.containers[slot];
  const Slot input = first_to_kill_for(state, container);
  container.kill_due = input == kNoSlot ? Time::never() : state.inputs[input].kill_at;
  if (container.kill_due > state.now) return;
  const bool overran = state.inputs[input].overran;
  stop_container(state, slot, StopMode::kill,
                 {overran ? ReasonCode::timed_out : ReasonCode::cancelled});
}

void stop_due(State& state, Slot slot) {
  State::Container& container = state.containers[slot];
  container.stop_due = state.now + kStopPatience;
  state.actions.emplace_back(
      StopContainer{container.id, container.node, StopMode::kill, container.stop_reason});
}

void container_due(State& state, Slot slot) {
  State::Container& container = state.containers[slot];
  const Slot pool = container.pool;
  advance_meter(state, slot);
  const bool was_stopping = container.stage == State::Stage::stopping;
  if (container.stop_due <= state.now) stop_due(state, slot);
  if (container.start_deadline <= state.now) startup_due(state, slot);
  if (container.kill_due <= state.now) kill_due(state, slot);
  arm_container(state, slot);
  if (was_stopping || container.stage != State::Stage::stopping) return;
  dispatch_waiting(state, pool);
  rescale(state, pool);
}

// When time alone will change how many containers the pool should have or may start.
Time next_scaling(const State& state, const State::Pool& pool) {
  const auto& idle = pool.groups[State::kIdle];
  const std::uint32_t desired = state.desired(pool).containers;
  const std::uint32_t live = pool.live();
  Time next = pool.backlog_order != 0 ? pool.refusal_retry : Time::never();
  if (live > desired && !idle.empty()) {
    const Time idle_since = state.containers[idle.front()].idle_since;
    next = std::min(next, idle_since + pool.settings.scaling.scaledown_window);
  }
  if (live < desired && pool.backoff.holds(state.now)) next = std::min(next, pool.backoff.until());
  return std::min(next, pool.next_look);
}

}  // namespace

void handle_event(State& state, const TimerDue&) {
  leases_due(state);
  inputs_due(state);
  for (;;) {
    const auto& pools = state.pool_deadlines;
    const auto& containers = state.container_deadlines;
    const Time pool_at = pools.empty() ? Time::never() : pools.top().key.at;
    const Time container_at = containers.empty() ? Time::never() : containers.top().key.at;
    if (std::min(pool_at, container_at) > state.now) return;
    if (pool_at <= container_at) {
      pool_due(state, pools.top().slot);
    } else {
      container_due(state, containers.top().slot);
    }
  }
}

void arm_pool(State& state, Slot slot) {
  State::Pool& pool = state.pools[slot];
  Time next = state.recovering ? Time::never() : next_scaling(state, pool);
  next = std::min(next, batch_due(state, pool));
  if (!pool.running.empty()) {
    next = std::min(next, state.inputs[pool.running.front()].dispatched + pool.settings.timeout);
  }
  const Deadline* armed = state.pool_deadlines.key(pool);
  if (next == Time::never() || (armed && armed->at <= next)) return;
  state.pool_deadlines.put(state.pools, slot, {next, pool.id.value});
}

void arm_container(State& state, Slot slot) {
  State::Container& container = state.containers[slot];
  Time next = std::min({container.start_deadline, container.kill_due, container.stop_due});
  if (container.meter.started() && container.meter.window_end() <= container.ended) {
    next = std::min(next, container.meter.window_end());
  }
  state.container_deadlines.put(state.containers, slot, {next, container.id.value});
}

}  // namespace ember
