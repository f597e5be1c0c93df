// A hash over everything that can influence a later decision. It goes by ids and by the order of
// lists, never by slots, so that two engines with one history give one hash on any machine.
#include "base/int128.h"
#include "engine/engine.h"
#include "engine/state.h"

namespace ember {
namespace {

class Hasher {
 public:
  void add(std::uint64_t value) {
    const Uint128 product = static_cast<Uint128>(hash_ ^ value) * 0x9E3779B97F4A7C15ull;
    hash_ = static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    hash_ = hash_ * 0xBF58476D1CE4E5B9ull + 1;
  }
  void add(Time time) { add(static_cast<std::uint64_t>(time.us)); }
  void add(Duration duration) { add(static_cast<std::uint64_t>(duration.us)); }
  void add(std::string_view text) {
    add(text.size());
    for (const char c : text) add(static_cast<unsigned char>(c));
  }
  void add(const Reason& reason) {
    add(static_cast<std::uint64_t>(reason.code));
    add(static_cast<std::uint64_t>(reason.a));
    add(static_cast<std::uint64_t>(reason.b));
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0x6A09E667F3BCC908ull;
};

void add_settings(Hasher& hash, const FunctionSettings& settings) {
  hash.add(settings.resources.cpu_millicores);
  hash.add(settings.resources.memory_bytes);
  hash.add(settings.resources.gpu.text());
  hash.add(settings.resources.gpu.share_bytes);
  hash.add(settings.resources.gpu.least_vram_bytes);
  const Scaling& scaling = settings.scaling;
  for (const std::uint64_t value :
       {scaling.min_containers, scaling.max_containers, scaling.buffer_containers,
        scaling.max_inputs, scaling.target_inputs, scaling.queue_limit}) {
    hash.add(value);
  }
  hash.add(scaling.scaledown_window);
  hash.add(settings.retries.max_retries);
  hash.add(settings.retries.initial_delay);
  hash.add(settings.retries.backoff_permille);
  hash.add(settings.retries.max_delay);
  hash.add(settings.timeout);
  hash.add(settings.startup_timeout);
  hash.add(settings.batching.max_batch_size);
  hash.add(settings.batching.wait);
}

template <class List, class Record>
void add_list(Hasher& hash, const List& list, const Slab<Record>& slab) {
  hash.add(list.size());
  for (Slot slot = list.front(); slot != kNoSlot; slot = list.next(slab, slot)) {
    hash.add(slab[slot].id.value);
  }
}

void add_armed(Hasher& hash, const Deadline* armed) { hash.add(armed ? armed->at : Time::never()); }

void add_gathering(Hasher& hash, const Gathering& gathering) {
  hash.add(gathering.since());
  hash.add(gathering.last());
  hash.add(static_cast<std::uint64_t>(gathering.gap_us_x8()));
  hash.add(static_cast<std::uint64_t>(gathering.run_us_x8()));
}

void add_turns(Hasher& hash, const WaitingQueue& level, const CallerLines& lines) {
  const auto& turns = level.turns();
  for (Slot line = turns.front(); line != kNoSlot; line = turns.next(lines, line)) {
    hash.add(lines[line].caller.value);
    hash.add(lines[line].returns);
  }
}

void add_pool(Hasher& hash, const State& state, const State::Pool& pool) {
  hash.add(pool.id.value);
  hash.add(state.functions[pool.function].id.value);
  hash.add(state.apps[pool.app].id.value);
  hash.add(state.workspaces[pool.workspace].id.value);
  hash.add(state.workspaces[pool.workspace].waiting.total());
  add_settings(hash, pool.settings);
  hash.add(static_cast<std::uint64_t>(pool.spread));
  hash.add(static_cast<std::uint64_t>(pool.ended));
  hash.add(pool.replaces.value);
  hash.add(pool.replaced_by.value);
  hash.add(pool.taken);
  hash.add(pool.in_flight);
  hash.add(pool.awaited);
  hash.add(std::uint64_t{pool.seems_stuck});
  hash.add(pool.next_look);
  hash.add(pool.waiting.size());
  add_turns(hash, pool.waiting.usual(), state.caller_lines);
  for (const auto& [priority, level] : pool.waiting.others()) {
    hash.add(static_cast<std::uint64_t>(priority.value));
    add_turns(hash, level, state.caller_lines);
  }
  hash.add(static_cast<std::uint64_t>(pool.pace.gap_us_x32()));
  hash.add(pool.pace.last());
  if (pool.is_batched()) add_gathering(hash, pool.gathering);
  add_list(hash, pool.running, state.inputs);
  add_list(hash, pool.delayed, state.inputs);
  for (const auto& group : pool.groups) add_list(hash, group, state.containers);
  hash.add(pool.backoff.failures());
  hash.add(pool.backoff.until());
  for (const Refusals::Entry& entry : pool.refusals.entries()) {
    hash.add(entry.node.value);
    hash.add(entry.in_a_row);
    hash.add(entry.until);
  }
  hash.add(pool.refused_starts);
  hash.add(pool.backlog_order);
  hash.add(pool.refusal_retry);
  add_armed(hash, state.pool_deadlines.key(pool));
}

void add_container(Hasher& hash, const State& state, const State::Container& container) {
  hash.add(container.id.value);
  hash.add(state.pools[container.pool].id.value);
  hash.add(container.node.value);
  hash.add(static_cast<std::uint64_t>(container.stage));
  hash.add(static_cast<std::uint64_t>(container.group));
  hash.add(std::uint64_t{container.seen_loading} | std::uint64_t{container.seen_ready} << 1 |
           std::uint64_t{container.yielding} << 2);
  for (const Time time :
       {container.placed, container.started, container.ready, container.idle_since, container.ended,
        container.start_deadline, container.kill_due, container.stop_due}) {
    hash.add(time);
  }
  hash.add(container.gpu_used_bytes);
  hash.add(container.start_reason);
  hash.add(container.stop_reason);
  for (const std::int64_t value : container.meter.digest()) {
    hash.add(static_cast<std::uint64_t>(value));
  }
  add_list(hash, container.inputs, state.inputs);
  add_armed(hash, state.container_deadlines.key(container));
}

void add_input(Hasher& hash, const State& state, const InputEntry& input) {
  hash.add(input.id.value);
  hash.add(state.pools[input.pool].id.value);
  hash.add(input.container == kNoSlot ? 0 : state.containers[input.container].id.value);
  if (input.batch != kNoSlot) {
    const State::Batch& batch = state.batches[input.batch];
    hash.add(batch.id.value);
    hash.add(batch.attempt);
    hash.add(std::uint64_t{batch.inputs} << 32 | batch.running);
    hash.add(batch.is_over);
    hash.add(batch.maker == kNoSlot ? 0 : state.inputs[batch.maker].id.value);
  }
  hash.add(input.parent == kNoSlot ? 0 : state.inputs[input.parent].id.value);
  hash.add(input.caller.value);
  hash.add(input.order);
  for (const Time time : {input.arrived, input.dispatched, input.kill_at, input.due})
    hash.add(time);
  hash.add(static_cast<std::uint64_t>(input.share_start));
  hash.add(input.attempt);
  hash.add(input.lost);
  hash.add(input.retried);
  hash.add(static_cast<std::uint64_t>(input.state));
  hash.add(std::uint64_t{input.returned} | std::uint64_t{input.cold} << 1 |
           std::uint64_t{input.overran} << 2 | std::uint64_t{input.pinned} << 3 |
           std::uint64_t{input.retries} << 4);
  hash.add(static_cast<std::uint64_t>(input.priority.value));
}

void add_node(Hasher& hash, const FleetNode& node) {
  hash.add(node.id.value);
  hash.add(static_cast<std::uint64_t>(node.cpu_millicores_free));
  hash.add(static_cast<std::uint64_t>(node.memory_bytes_free));
  for (const Device& device : node.capacity.devices) {
    hash.add(device.id.value);
    hash.add(std::string_view(device.type));
    hash.add(static_cast<std::uint64_t>(device.state));
  }
  for (const DeviceHold& hold : node.holds) {
    hash.add(hold.device.value);
    hash.add(hold.container.value);
    hash.add(static_cast<std::uint64_t>(hold.share_bytes));
    hash.add(hold.workspace.value);
  }
  for (const auto& [device, lease] : node.leases) {
    hash.add(device.value);
    hash.add(lease.value);
  }
}

void add_lease(Hasher& hash, const State::Lease& lease) {
  hash.add(lease.id.value);
  hash.add(lease.gpu.text());
  hash.add(lease.length);
  hash.add(lease.node.value);
  for (const DeviceId device : lease.devices) hash.add(device.value);
  for (const Time time : {lease.from, lease.until, lease.recorded_until}) hash.add(time);
  hash.add(lease.metered);
}

}  // namespace

std::uint64_t Engine::state_hash() const {
  const State& state = *state_;
  Hasher hash;
  hash.add(state.now);
  hash.add(state.recovering);
  hash.add(state.draining);
  hash.add(state.next_container);
  hash.add(state.next_order);
  for (const Slot slot : slots_by_id(state.pools)) add_pool(hash, state, state.pools[slot]);
  for (const Slot slot : slots_by_id(state.functions)) {
    const State::Function& function = state.functions[slot];
    hash.add(function.id.value);
    hash.add(function.max_containers);
    hash.add(function.held);
    hash.add(static_cast<std::uint64_t>(function.room_wanted));
    for (const Slot pool : function.pools) hash.add(state.pools[pool].id.value);
  }
  for (const Slot slot : slots_by_id(state.containers)) {
    add_container(hash, state, state.containers[slot]);
  }
  for (const Slot slot : slots_by_id(state.inputs)) add_input(hash, state, state.inputs[slot]);
  for (const FleetNode& node : state.fleet.nodes()) add_node(hash, node);
  for (const State::Lease& lease : state.leases) add_lease(hash, lease);
  return hash.value();
}

}  // namespace ember
