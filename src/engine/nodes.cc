// Nodes come and go.
#include <algorithm>

#include "engine/steps.h"

namespace ember {
namespace {

std::vector<Slot> containers_on(const State& state, const FleetNode& node) {
  std::vector<Slot> slots;
  for (const auto& [id, reservation] : node.reservations) {
    slots.push_back(state.container_index.find(id));
  }
  return slots;
}

void add_once(std::vector<Slot>& slots, Slot slot) {
  if (std::find(slots.begin(), slots.end(), slot) == slots.end()) slots.push_back(slot);
}

// Kills the containers that hold a sick device: what they compute is not to be trusted. The pools
// they are of; no pool is forgotten before its containers have ended.
std::vector<Slot> leave_cordoned_devices(State& state, const FleetNode& node) {
  std::vector<Slot> pools;
  for (const auto& [id, reservation] : node.reservations) {
    if (!node.has_cordoned(reservation.devices)) continue;
    const Slot slot = state.container_index.find(id);
    if (state.containers[slot].stage == State::Stage::stopping) continue;
    add_once(pools, state.containers[slot].pool);
    stop_container(state, slot, StopMode::kill, {ReasonCode::device_cordoned});
  }
  return pools;
}

}  // namespace

void handle_event(State& state, const NodeJoined& event) {
  if (!event.node) return;
  state.fleet.join(event.node, event.capacity);
  resume_leases(state, event.node);
  // What it refused before, it may take as it is now.
  for (const Slot slot : slots_by_id(state.pools)) {
    state.pools[slot].refusals.accepted(event.node);
  }
  const std::vector<Slot> pools = leave_cordoned_devices(state, *state.fleet.find(event.node));
  use_room(state);
  for (const Slot pool : pools) {
    dispatch_waiting(state, pool);
    rescale(state, pool);
  }
}

void handle_event(State& state, const NodeLost& event) {
  const FleetNode* node = state.fleet.find(event.node);
  if (!node) return;
  const std::vector<Slot> containers = containers_on(state, *node);
  pause_leases(state, event.node);
  state.fleet.lose(event.node);
  std::vector<Slot> pools;
  std::vector<Slot> functions;
  for (const Slot slot : containers) {
    const Slot pool = state.containers[slot].pool;
    add_once(pools, pool);
    add_once(functions, state.pools[pool].function);
    end_container(state, slot, state.now, ExitCause::node_lost, Start::held_resources);
  }
  for (const Slot pool : pools) dispatch_waiting(state, pool);
  for (const Slot function : functions) rescale_function(state, function);
}

}  // namespace ember
