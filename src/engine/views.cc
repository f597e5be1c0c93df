// What people and checkers see. Nothing here is on the path of a call.
#include <algorithm>
#include <optional>

#include "engine/engine.h"
#include "engine/state.h"
#include "engine/steps.h"
#include "scheduler/filter.h"

namespace ember {
namespace {

using Stage = State::Stage;

ContainerState state_of(const State::Container& container) {
  switch (container.stage) {
    case Stage::placed:
      return ContainerState::placed;
    case Stage::booting:
      return ContainerState::booting;
    case Stage::loading:
      return ContainerState::loading;
    case Stage::unknown:
      return ContainerState::busy;
    case Stage::ready:
      return container.inputs.empty() ? ContainerState::idle : ContainerState::busy;
    case Stage::stopping:
      return ContainerState::stopping;
  }
  return ContainerState::stopping;
}

std::vector<DeviceId> devices_of(const State& state, const State::Container& container) {
  const FleetNode* node = state.fleet.find(container.node);
  if (!node) return {};
  const auto at = node->reservations.find(container.id);
  return at == node->reservations.end() ? std::vector<DeviceId>{} : at->second.devices;
}

ContainerView view_of(const State& state, const State::Container& container) {
  ContainerView view;
  view.container = container.id;
  view.pool = state.pools[container.pool].id;
  view.node = container.node;
  view.devices = devices_of(state, container);
  view.state = state_of(container);
  view.placed = container.placed;
  view.started = container.started;
  view.ready = container.ready;
  view.idle_since = view.state == ContainerState::idle ? container.idle_since : Time{};
  view.inputs = container.inputs.size();
  view.yielding = container.yielding;
  view.start_reason = container.start_reason;
  view.stop_reason = container.stop_reason;
  return view;
}

Reason scale_reason(const State::Pool& pool, const Desired& desired) {
  const Scaling& scaling = pool.settings.scaling;
  switch (desired.by) {
    case DesiredBy::demand:
      return {ReasonCode::demand, pool.in_flight + pool.waiting.size(), pool.target_inputs()};
    case DesiredBy::min_containers:
      return {ReasonCode::min_containers, scaling.min_containers};
    case DesiredBy::buffer_containers:
      return {ReasonCode::buffer_containers, scaling.buffer_containers};
    case DesiredBy::max_containers:
      return {ReasonCode::waiting_for_max_containers, scaling.max_containers};
  }
  return {};
}

std::int64_t ms_until(Time now, Time then) { return now < then ? (then - now).whole_ms() : 0; }

Time first_end_of_leases(const State& state, const GpuDemand& demand) {
  Time first = Time::never();
  for (const State::Lease& lease : state.leases) {
    const bool alike = std::ranges::any_of(
        demand.choices, [&](const GpuChoice& choice) { return choice.type == lease.gpu_type; });
    if (lease.node && alike) first = std::min(first, lease.until);
  }
  return first;
}

// What is in the way on the devices that it could use: leases first, then others' shares. Nothing
// where one has room.
std::optional<Reason> device_reason(const State& state, const State::Pool& pool) {
  const GpuDemand& demand = pool.settings.resources.gpu;
  std::int64_t leased = 0, most_room = 0;
  for (const FleetNode& node : state.fleet.nodes()) {
    for (const Device& device : node.capacity.devices) {
      if (!accepts(demand, device)) continue;
      if (node.is_free(device)) return std::nullopt;
      leased += node.is_leased(device.id);
      most_room = std::max(most_room, node.share_room(device, state.workspace_of(pool)));
    }
  }
  if (demand.is_share() && most_room >= demand.share_bytes) return std::nullopt;
  if (leased > 0) {
    return Reason{ReasonCode::waiting_for_leased, leased,
                  ms_until(state.now, first_end_of_leases(state, demand))};
  }
  if (!demand.is_share()) return std::nullopt;
  return Reason{ReasonCode::waiting_for_share, demand.share_bytes, most_room};
}

// Why an input of the pool with so many ahead of it waits.
Reason wait_reason(const State& state, const State::Pool& pool, std::int64_t ahead) {
  const std::uint32_t desired = state.desired(pool).containers;
  const std::uint32_t starting = pool.groups[State::kStarting].size();
  const std::uint32_t ready = pool.live() - starting;
  const State::Function& function = state.functions[pool.function];
  if (state.fleet.nodes().empty()) return {ReasonCode::waiting_for_node};
  if (const Time due = batch_due(state, pool); due != Time::never()) {
    return {ReasonCode::waiting_for_batch, pool.waiting.size(), ms_until(state.now, due)};
  }
  if (starting > 0) return {ReasonCode::waiting_for_start, starting, ahead};
  const Slot taker = pool.replaced_by ? state.pool_index.find(pool.replaced_by) : kNoSlot;
  if (taker != kNoSlot && state.pools[taker].taken > 0 && pool.live() < desired) {
    return {ReasonCode::waiting_for_rollout, state.pools[taker].groups[State::kStarting].size()};
  }
  if (pool.live() >= desired) return {ReasonCode::waiting_for_slot, ready, ahead};
  if (pool.backoff.holds(state.now)) {
    return {ReasonCode::waiting_for_backoff, pool.backoff.failures(),
            ms_until(state.now, pool.backoff.until())};
  }
  if (function.held >= function.max_containers) {
    return {ReasonCode::waiting_for_max_containers, function.max_containers};
  }
  if (!could_ever_place(state.fleet, pool.settings.resources)) {
    return {ReasonCode::never_placeable};
  }
  if (pool.backlog_order != 0 && pool.refusal_retry != Time::never()) {
    return {ReasonCode::waiting_after_refusal, pool.refusals.most_in_a_row(),
            ms_until(state.now, pool.refusal_retry)};
  }
  if (const auto reason = device_reason(state, pool)) return *reason;
  return {ReasonCode::waiting_for_resources, desired - pool.live()};
}

PoolView view_of(const State& state, const State::Pool& pool) {
  const Desired desired = state.desired(pool);
  PoolView view;
  view.pool = pool.id;
  view.function = state.functions[pool.function].id;
  view.app = state.apps[pool.app].id;
  view.retired = pool.ended != ReasonCode::none;
  view.waiting = pool.waiting.size();
  view.delayed = pool.delayed.size();
  view.running = pool.in_flight;
  view.starting = pool.groups[State::kStarting].size();
  view.idle = pool.groups[State::kIdle].size();
  view.busy = pool.groups[State::kBusy].size();
  view.stopping = pool.groups[State::kStopping].size();
  view.desired = desired.containers;
  view.scale_reason = scale_reason(pool, desired);
  if (!pool.waiting.empty()) view.wait_reason = wait_reason(state, pool, 0);
  view.failed_starts = pool.backoff.failures();
  view.refused_starts = pool.refused_starts;
  return view;
}

}  // namespace

std::vector<ContainerView> Engine::containers() const {
  std::vector<ContainerView> views;
  for (const Slot slot : slots_by_id(state_->containers)) {
    views.push_back(view_of(*state_, state_->containers[slot]));
  }
  return views;
}

std::vector<PoolView> Engine::pools() const {
  std::vector<PoolView> views;
  for (const Slot slot : slots_by_id(state_->pools)) {
    views.push_back(view_of(*state_, state_->pools[slot]));
  }
  return views;
}

std::vector<NodeView> Engine::nodes() const {
  std::vector<NodeView> views;
  for (const FleetNode& node : state_->fleet.nodes()) {
    views.push_back({node.id, node.capacity, node.cpu_millicores_free, node.memory_bytes_free,
                     node.holds, node.leases});
  }
  return views;
}

std::vector<LeaseView> Engine::leases() const {
  std::vector<LeaseView> views;
  for (const State::Lease& lease : state_->leases) {
    views.push_back({lease.id, lease.node, lease.devices, lease.gpu_type, lease.from, lease.until});
  }
  return views;
}

std::optional<ContainerView> Engine::container(ContainerId id) const {
  const Slot slot = state_->container_index.find(id);
  if (slot == kNoSlot) return std::nullopt;
  return view_of(*state_, state_->containers[slot]);
}

std::optional<PoolView> Engine::pool(PoolId id) const {
  const Slot slot = state_->pool_index.find(id);
  if (slot == kNoSlot) return std::nullopt;
  return view_of(*state_, state_->pools[slot]);
}

std::optional<Reason> Engine::explain(InputId id) const {
  const Slot slot = state_->input_index.find(id);
  if (slot == kNoSlot) return std::nullopt;
  const InputEntry& input = state_->inputs[slot];
  if (input.state == InputState::delayed || input.retries) {
    return Reason{ReasonCode::waiting_to_retry, input.retried, ms_until(state_->now, input.due)};
  }
  if (input.state == InputState::ending) return std::nullopt;  // its caller has been answered
  if (input.state == InputState::running) return Reason{ReasonCode::running};
  const State::Pool& pool = state_->pools[input.pool];
  return wait_reason(*state_, pool,
                     pool.waiting.ahead_of(state_->inputs, state_->caller_lines, slot));
}

}  // namespace ember
