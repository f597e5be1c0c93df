// How a container begins, moves between the groups of its pool, and ends.
#include <algorithm>

#include "base/assert.h"
#include "engine/steps.h"

namespace ember {
namespace {

void record(State& state, const State::Container& container, const UsageWindow& window) {
  state.rows.clear();
  append_rows(container.holding, window, state.rows);
  for (UsageRow& row : state.rows) state.actions.emplace_back(RecordUsage{std::move(row)});
}

const Device* first_device(const State& state, NodeId id, const std::vector<DeviceId>& devices) {
  const FleetNode* node = state.fleet.find(id);
  if (!node || devices.empty()) return nullptr;
  const auto found = std::ranges::find(node->capacity.devices, devices.front(), &Device::id);
  return found == node->capacity.devices.end() ? nullptr : &*found;
}

bool was_starting(State::Stage stage) {
  return stage == State::Stage::placed || stage == State::Stage::booting ||
         stage == State::Stage::loading;
}

// Counts its life up to `at`, not beyond: the node has seen the end. Returns execute time that
// had been counted after it.
Duration close_meter(State& state, Slot slot, Time at) {
  State::Container& container = state.containers[slot];
  while (container.meter.window_over(at)) record(state, container, container.meter.close_window());
  container.meter.advance(at);
  return container.meter.take_back_after(at);
}

// Those who wait are failed, unless a container that did start will serve them.
void give_up_starting(State& state, Slot pool_slot, const Reason& reason, ContainerId last) {
  const State::Pool& pool = state.pools[pool_slot];
  if (!pool.groups[State::kIdle].empty() || !pool.groups[State::kBusy].empty()) return;
  fail_waiting(state, pool_slot, {ErrorCode::start_failed, reason, last});
}

}  // namespace

Slot add_container(State& state, ContainerId id, Slot pool_slot, NodeId node) {
  const Slot slot = state.containers.add();
  State::Container& container = state.containers[slot];
  State::Pool& pool = state.pools[pool_slot];
  container.id = id;
  container.node = node;
  container.pool = pool_slot;
  container.placed = state.now;
  container.start_deadline = state.now + pool.settings.startup_timeout;
  pool.groups[State::kStarting].push_back(state.containers, slot);
  ++state.functions[pool.function].held;
  state.container_index.insert(id, slot);
  return slot;
}

void reserve(State& state, Slot slot, const std::vector<DeviceId>& devices) {
  State::Container& container = state.containers[slot];
  const State::Pool& pool = state.pools[container.pool];
  const Resources& resources = pool.settings.resources;
  const Device* device = first_device(state, container.node, devices);
  container.holding = {container.id,
                       pool.id,
                       static_cast<std::int64_t>(devices.size()),
                       device ? device->type : std::string(),
                       resources.cpu_millicores,
                       resources.memory_bytes};
  if (device && resources.gpu.is_share()) {
    container.holding.share_bytes = resources.gpu.share_bytes;
    container.holding.device_bytes = std::max(device->vram_bytes, resources.gpu.share_bytes);
  }
  state.fleet.reserve(container.node, container.id,
                      {resources.cpu_millicores, resources.memory_bytes, devices,
                       resources.gpu.share_bytes, state.workspace_of(pool)});
}

void move_to_group(State& state, Slot slot, State::Group group) {
  State::Container& container = state.containers[slot];
  if (container.group == group) return;
  auto& groups = state.pools[container.pool].groups;
  groups[container.group].remove(state.containers, slot);
  groups[group].push_back(state.containers, slot);
  container.group = group;
}

void update_free_slots(State& state, Slot slot) {
  const State::Container& container = state.containers[slot];
  State::Pool& pool = state.pools[container.pool];
  const Scaling& scaling = pool.settings.scaling;
  const std::uint32_t taken = pool.slots_taken_of(container);
  const bool takes_inputs =
      container.stage == State::Stage::ready && !container.yielding && taken < scaling.max_inputs;
  if (takes_inputs) {
    const SlotLoad load{taken, scaling.target_inputs};
    pool.free_slots.put(state.containers, slot, slot_rank(load, container.id));
  } else {
    pool.free_slots.remove(state.containers, slot);
  }
}

void advance_meter(State& state, Slot slot) {
  State::Container& container = state.containers[slot];
  const Time until = std::min(state.now, container.ended);
  while (container.meter.window_over(until)) {
    record(state, container, container.meter.close_window());
  }
  container.meter.advance(until);
}

void stop_container(State& state, Slot slot, StopMode mode, const Reason& reason) {
  State::Container& container = state.containers[slot];
  EMBER_ASSERT(container.stage != State::Stage::stopping);
  EMBER_ASSERT(mode == StopMode::kill || container.inputs.empty());
  advance_meter(state, slot);
  take_inputs_back(state, slot);
  container.stage = State::Stage::stopping;
  container.stop_reason = reason;
  container.start_deadline = Time::never();
  container.kill_due = Time::never();
  container.stop_due = state.now + kStopPatience;
  move_to_group(state, slot, State::kStopping);
  update_free_slots(state, slot);
  arm_container(state, slot);
  state.actions.emplace_back(StopContainer{container.id, container.node, mode, reason});
}

void count_failed_start(State& state, Slot pool_slot, ContainerId container) {
  State::Pool& pool = state.pools[pool_slot];
  pool.backoff.fail(state.now, state.options.start_backoff);
  if (pool.backoff.failures() < state.options.start_attempts) return;
  const Reason reason{ReasonCode::start_failed_repeatedly, pool.backoff.failures()};
  give_up_starting(state, pool_slot, reason, container);
}

void count_refused_start(State& state, Slot slot, Refusal refusal) {
  const State::Container& container = state.containers[slot];
  if (refusal == Refusal::lasting) {
    return count_failed_start(state, container.pool, container.id);
  }
  State::Pool& pool = state.pools[container.pool];
  pool.refusals.refused(container.node, state.now, state.options.start_backoff, kLongestBackoff);
  if (++pool.refused_starts < kRefusedStarts) return;
  const Reason reason{ReasonCode::start_refused_repeatedly, pool.refused_starts};
  give_up_starting(state, container.pool, reason, container.id);
}

void end_container(State& state, Slot slot, Time at, ExitCause cause, Start start) {
  State::Container& container = state.containers[slot];
  State::Pool& pool = state.pools[container.pool];
  const State::Stage stage = container.stage;
  const Duration overrun = close_meter(state, slot, std::min(at, state.now));
  const bool idle_crash = stage == State::Stage::ready && container.inputs.empty();
  settle_inputs(state, slot, cause, overrun);
  if (const auto window = container.meter.finish()) record(state, container, *window);

  const bool own_doing = start == Start::held_resources && cause != ExitCause::node_lost;
  if (was_starting(stage) && own_doing) {
    count_failed_start(state, container.pool, container.id);
  } else if (idle_crash && own_doing) {
    // Ended while nothing ran: not to be started again and again without a pause.
    pool.backoff.fail(state.now, state.options.start_backoff);
  }
  state.fleet.release(container.node, container.id);
  pool.free_slots.remove(state.containers, slot);
  pool.groups[container.group].remove(state.containers, slot);
  state.container_deadlines.remove(state.containers, slot);
  --state.functions[pool.function].held;
  if (container.yielding) --state.functions[pool.function].yielding;
  state.container_index.erase(container.id);
  state.actions.emplace_back(ReleaseContainer{container.id, cause});
  state.containers.remove(slot);
}

}  // namespace ember
