// Leases: a person has devices of the fleet to themselves for a time. While a lease lasts no
// container is placed there; it ends at its time, or before when it is given back. Only devices
// that are free are leased: nothing that runs makes way.
#include <algorithm>

#include "engine/steps.h"
#include "scheduler/filter.h"
#include "scheduler/place.h"

namespace ember {
namespace {

constexpr Time floor_to_ms(Time time) { return Time::from_ms(time.whole_ms()); }

State::Lease* find(State& state, LeaseId id) {
  const auto found = std::ranges::find(state.leases, id, &State::Lease::id);
  return found == state.leases.end() ? nullptr : &*found;
}

bool is_granted(const State::Lease& lease) { return static_cast<bool>(lease.node); }

// A person's programs take no part in the container's CPU and memory.
Resources devices_alone(const GpuDemand& gpu) { return {0, 0, gpu}; }

void arm(State& state) {
  state.lease_due = Time::never();
  for (const State::Lease& lease : state.leases) {
    if (!is_granted(lease)) continue;
    state.lease_due = std::min(state.lease_due, lease.until);
    if (!lease.metered) continue;
    state.lease_due = std::min(state.lease_due, lease.recorded_until + state.options.usage_window);
  }
}

void record(State& state, State::Lease& lease, Time until) {
  UsageRow row;
  row.lease = lease.id;
  row.meter = Meter::gpu;
  row.phase = Phase::leased;
  row.window_start = lease.recorded_until;
  row.window_end = until;
  row.quantity = (until - lease.recorded_until).whole_ms();
  row.units = static_cast<std::int64_t>(lease.devices.size());
  row.gpu_type = lease.gpu_type;
  lease.recorded_until = until;
  if (row.quantity > 0) state.actions.emplace_back(RecordUsage{std::move(row)});
}

// Whole windows, and with the end the rest.
void meter(State& state, State::Lease& lease, Time now) {
  if (!lease.metered) return;
  while (lease.recorded_until + state.options.usage_window <= now) {
    record(state, lease, lease.recorded_until + state.options.usage_window);
  }
}

void end(State& state, LeaseId id, Time at) {
  State::Lease& lease = *find(state, id);
  if (is_granted(lease)) {
    const Time until = floor_to_ms(std::clamp(at, lease.from, lease.until));
    meter(state, lease, until);
    if (lease.metered && lease.recorded_until < until) record(state, lease, until);
    state.fleet.end_lease(lease.node, id);
    state.actions.emplace_back(ReleaseLease{id, until});
  }
  std::erase_if(state.leases, [&](const State::Lease& one) { return one.id == id; });
  arm(state);
}

std::string type_of(const FleetNode& node, DeviceId id) {
  const auto device = std::ranges::find(node.capacity.devices, id, &Device::id);
  return device == node.capacity.devices.end() ? std::string() : device->type;
}

// Whether there was room for it.
bool grant(State& state, State::Lease& lease) {
  if (state.recovering) return false;
  auto placement = place(state.fleet, {devices_alone(lease.gpu)}, {});
  if (!placement) return false;
  lease.node = placement->node;
  lease.devices = std::move(placement->devices);
  lease.gpu_type = type_of(*state.fleet.find(lease.node), lease.devices.front());
  lease.from = floor_to_ms(state.now);
  lease.until = lease.from + lease.length;
  lease.metered = true;
  lease.recorded_until = lease.from;
  state.fleet.lease(lease.node, lease.id, lease.devices);
  state.actions.emplace_back(
      GrantLease{lease.id, lease.node, lease.devices, lease.gpu_type, lease.from, lease.until});
  arm(state);
  return true;
}

RefuseLease refusal_of(const State& state, const State::Lease& lease) {
  std::int64_t devices = 0;
  Time first_end = Time::never();
  for (const FleetNode& node : state.fleet.nodes()) {
    for (const Device& device : node.capacity.devices) devices += accepts(lease.gpu, device);
  }
  for (const State::Lease& other : state.leases) {
    const bool alike = std::ranges::any_of(
        lease.gpu.choices, [&](const GpuChoice& choice) { return choice.type == other.gpu_type; });
    if (is_granted(other) && alike) first_end = std::min(first_end, other.until);
  }
  const bool any = first_end != Time::never();
  const Duration wait = any ? first_end - state.now : Duration{};
  return {
      lease.id,
      ErrorCode::resource_exhausted,
      {ReasonCode::no_device_free, devices, any ? std::max<std::int64_t>(wait.whole_ms(), 1) : 0},
      wait};
}

}  // namespace

void handle_event(State& state, const LeaseAsked& event) {
  if (!event.lease || find(state, event.lease)) return;
  State::Lease& lease = state.leases.emplace_back();
  lease.id = event.lease;
  lease.gpu = event.gpu;
  lease.length = event.length;
  if (!could_ever_place(state.fleet, devices_alone(event.gpu))) {
    state.actions.emplace_back(
        RefuseLease{event.lease, ErrorCode::conflict, {ReasonCode::no_such_device}});
    state.leases.pop_back();
  } else if (!grant(state, lease) && event.if_none_free == IfNoneFree::refuse) {
    state.actions.emplace_back(refusal_of(state, lease));
    state.leases.pop_back();
  }
}

void handle_event(State& state, const LeaseEnded& event) {
  if (!find(state, event.lease)) return;
  end(state, event.lease, state.now);
  use_room(state);
}

void handle_event(State& state, const LeaseRestored& event) {
  if (!event.lease || !event.node || find(state, event.lease)) return;
  State::Lease& lease = state.leases.emplace_back();
  lease.id = event.lease;
  lease.node = event.node;
  lease.devices = event.devices;
  lease.gpu_type = event.gpu_type;
  lease.from = event.from;
  lease.until = event.until;
  lease.length = event.until - event.from;
  lease.recorded_until = floor_to_ms(std::max(event.from, event.billed_until));
  if (state.fleet.find(event.node)) resume_leases(state, event.node);
  arm(state);
}

void grant_waiting_leases(State& state) {
  for (State::Lease& lease : state.leases) {
    if (!is_granted(lease)) grant(state, lease);
  }
}

void leases_due(State& state) {
  if (state.lease_due > state.now) return;
  std::vector<LeaseId> over;
  for (State::Lease& lease : state.leases) {
    if (!is_granted(lease)) continue;
    if (lease.until <= state.now) {
      over.push_back(lease.id);
    } else {
      meter(state, lease, state.now);
    }
  }
  arm(state);
  for (const LeaseId id : over) end(state, id, find(state, id)->until);
  if (!over.empty()) use_room(state);
}

void resume_leases(State& state, NodeId node) {
  for (State::Lease& lease : state.leases) {
    if (lease.node != node) continue;
    state.fleet.lease(node, lease.id, lease.devices);
    if (lease.metered) continue;
    lease.metered = true;
    if (lease.recorded_until == Time::never()) lease.recorded_until = floor_to_ms(state.now);
  }
  arm(state);
}

void pause_leases(State& state, NodeId node) {
  for (State::Lease& lease : state.leases) {
    if (lease.node != node || !lease.metered) continue;
    const Time until = floor_to_ms(std::min(state.now, lease.until));
    meter(state, lease, until);
    if (lease.recorded_until < until) record(state, lease, until);
    lease.metered = false;
    lease.recorded_until = Time::never();
  }
  arm(state);
}

}  // namespace ember
