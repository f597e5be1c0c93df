// What nodes and runners say of containers. Messages come late, doubled and in any order: what does
// not fit the container's state is ignored.
#include <algorithm>

#include "engine/steps.h"

namespace ember {
namespace {

using Stage = State::Stage;

Slot find(const State& state, ContainerId id) { return state.container_index.find(id); }

void begin_loading(State& state, Slot slot) {
  State::Container& container = state.containers[slot];
  advance_meter(state, slot);
  container.stage = Stage::loading;
  container.meter.set_phase(Phase::load);
}

void become_ready(State& state, Slot slot) {
  State::Container& container = state.containers[slot];
  const Slot pool = container.pool;
  advance_meter(state, slot);
  container.stage = Stage::ready;
  container.meter.set_phase(Phase::idle);
  container.ready = container.idle_since = state.now;
  container.start_deadline = Time::never();
  state.pools[pool].backoff.succeed();
  move_to_group(state, slot, State::kIdle);
  update_free_slots(state, slot);
  arm_container(state, slot);
  if (container.yielding) stop_container(state, slot, StopMode::graceful, container.stop_reason);
  dispatch_waiting(state, pool);
  const bool rises = state.predecessor_of(state.pools[pool]) != kNoSlot;
  rises ? rescale_rising(state, state.pools[pool].app) : rescale(state, pool);
}

// Whether it may go on with its devices: none is held twice, or beyond its memory.
bool devices_are_free(const State& state, const ContainerAdopted& event, const State::Pool& pool) {
  const FleetNode* node = state.fleet.find(event.node);
  const std::int64_t share_bytes = pool.settings.resources.gpu.share_bytes;
  return std::all_of(event.devices.begin(), event.devices.end(), [&](DeviceId device) {
    return !node->is_leased(device) &&
           node->may_hold(device, share_bytes, state.workspace_of(pool));
  });
}

// It may run an input of the earlier driver to its end, and then load nothing but its answer.
Time adoption_deadline(const State& state, const FunctionSettings& settings) {
  return state.now + settings.timeout + settings.startup_timeout;
}

Slot adopt(State& state, const ContainerAdopted& event, Slot pool) {
  const Slot slot = add_container(state, event.container, pool, event.node);
  reserve(state, slot, event.devices);
  State::Container& container = state.containers[slot];
  container.stage = Stage::unknown;
  container.started = std::min(event.started, state.now);
  container.start_deadline = adoption_deadline(state, state.pools[pool].settings);
  container.meter.start(std::max(event.billed_until, container.started), Phase::idle,
                        state.options.usage_window, event.egress_billed_bytes);
  move_to_group(state, slot, State::kBusy);
  return slot;
}

}  // namespace

void handle_event(State& state, const ContainerStarted& event) {
  const Slot slot = find(state, event.container);
  if (slot == kNoSlot) return;
  State::Container& container = state.containers[slot];
  if (container.meter.started()) return;
  container.started = std::min(std::max(event.at, container.placed), state.now);
  container.meter.start(container.started, Phase::boot, state.options.usage_window);
  state.pools[container.pool].refusals.accepted(container.node);
  state.pools[container.pool].refused_starts = 0;
  if (container.stage == Stage::placed) {
    container.stage = Stage::booting;
    if (container.seen_loading) begin_loading(state, slot);
    if (container.seen_ready) return become_ready(state, slot);
  }
  advance_meter(state, slot);
  arm_container(state, slot);
}

void handle_event(State& state, const ContainerLoading& event) {
  const Slot slot = find(state, event.container);
  if (slot == kNoSlot) return;
  State::Container& container = state.containers[slot];
  if (container.stage == Stage::placed) container.seen_loading = true;
  if (container.stage == Stage::booting) begin_loading(state, slot);
  if (container.stage == Stage::unknown) {
    // It had not finished loading when its driver went away; it goes on from there.
    begin_loading(state, slot);
    container.start_deadline = state.now + state.pools[container.pool].settings.startup_timeout;
    move_to_group(state, slot, State::kStarting);
    arm_container(state, slot);
  }
}

void handle_event(State& state, const ContainerReady& event) {
  const Slot slot = find(state, event.container);
  if (slot == kNoSlot) return;
  State::Container& container = state.containers[slot];
  switch (container.stage) {
    case Stage::placed:
      container.seen_ready = true;
      return;
    case Stage::booting:
    case Stage::loading:
    case Stage::unknown:
      return become_ready(state, slot);
    case Stage::ready:
    case Stage::stopping:
      return;
  }
}

void handle_event(State& state, const ContainerRefused& event) {
  const Slot slot = find(state, event.container);
  if (slot == kNoSlot) return;
  const State::Container& container = state.containers[slot];
  if (container.meter.started()) return;
  const Slot function = state.pools[container.pool].function;
  if (container.stage == Stage::placed) count_refused_start(state, slot, event.refusal);
  end_container(state, slot, state.now, ExitCause::stopped, Start::refused);
  rescale_function(state, function);
  use_room(state);
}

void handle_event(State& state, const ContainerExited& event) {
  const Slot slot = find(state, event.container);
  if (slot == kNoSlot) return;
  const Slot pool = state.containers[slot].pool;
  const Slot function = state.pools[pool].function;
  state.containers[slot].meter.count_egress(event.egress_bytes);
  state.containers[slot].gpu_used_bytes = event.gpu_used_bytes;
  end_container(state, slot, event.at, event.cause, Start::held_resources);
  dispatch_waiting(state, pool);
  rescale_function(state, function);
  use_room(state);
}

void handle_event(State& state, const EgressReported& event) {
  const Slot slot = find(state, event.container);
  if (slot == kNoSlot) return;
  advance_meter(state, slot);
  state.containers[slot].meter.count_egress(event.total_bytes);
}

void handle_event(State& state, const ContainerAdopted& event) {
  if (!event.container || find(state, event.container) != kNoSlot) return;
  if (!state.fleet.find(event.node)) return;
  const Slot pool = state.pool_index.find(event.pool);
  if (pool == kNoSlot) {
    // Nothing is known of what it holds: the driver has to see it off.
    state.actions.emplace_back(
        StopContainer{event.container, event.node, StopMode::kill, {ReasonCode::retired}});
    state.actions.emplace_back(ReleaseContainer{event.container, ExitCause::stopped});
    return;
  }
  const bool free = devices_are_free(state, event, state.pools[pool]);
  const bool sick = state.fleet.find(event.node)->has_cordoned(event.devices);
  const Slot slot = adopt(state, event, pool);
  if (event.ended.us != 0) state.containers[slot].ended = std::max(event.ended, event.started);
  advance_meter(state, slot);
  arm_container(state, slot);
  const bool stopped = state.pools[pool].ended == ReasonCode::app_stopped;
  if (!free || stopped || sick) {
    const ReasonCode reason = stopped ? ReasonCode::app_stopped
                              : sick  ? ReasonCode::device_cordoned
                                      : ReasonCode::over_desired;
    stop_container(state, slot, StopMode::kill, {reason});
  }
  rescale(state, pool);
}

void handle_event(State& state, const ContainerUnwanted& event) {
  const Slot slot = find(state, event.container);
  if (slot == kNoSlot || state.containers[slot].stage == Stage::stopping) return;
  State::Container& container = state.containers[slot];
  const Slot pool = container.pool;
  const Reason reason{ReasonCode::operator_asked};
  const bool may_run_inputs = container.stage == Stage::ready || container.stage == Stage::unknown;
  if (event.wanted == StopWanted::now) {
    stop_container(state, slot, StopMode::kill, reason);
  } else if (!may_run_inputs || (container.stage == Stage::ready && container.inputs.empty())) {
    stop_container(state, slot, StopMode::graceful, reason);
  } else {
    // It stops, for this reason, as its last input leaves it.
    container.stop_reason = reason;
    if (!container.yielding) ++state.functions[state.pools[pool].function].yielding;
    container.yielding = true;
    update_free_slots(state, slot);
  }
  dispatch_waiting(state, pool);
  rescale(state, pool);
}

}  // namespace ember
