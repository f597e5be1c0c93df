#include "sim/facts.h"

#include <algorithm>
#include <set>
#include <utility>

#include "queue/retry_delay.h"
#include "sim/overload.h"

namespace ember {
namespace {

template <class Map, class Key>
auto* find_in(Map& map, const Key& key) {
  const auto found = map.find(key);
  return found == map.end() ? nullptr : &found->second;
}

}  // namespace

const ContainerFact* Facts::container(ContainerId id) const { return find_in(containers_, id); }
const InputFact* Facts::input(InputId id) const { return find_in(inputs_, id); }
const PoolFact* Facts::pool(PoolId id) const { return find_in(pools_, id); }

std::uint32_t Facts::containers_of(FunctionId function) const {
  const auto* held = find_in(held_, function);
  return held ? *held : 0;
}

std::uint32_t Facts::max_containers(FunctionId function) const {
  const auto* most = find_in(max_containers_, function);
  return most ? *most : 0;
}

std::size_t ContainerFact::slots_taken() const {
  std::set<std::pair<InputId, Attempt>> taken;
  for (const auto& [id, slot] : slots) {
    taken.insert(slot.batch.first ? std::pair{slot.batch.first, slot.batch.attempt}
                                  : std::pair{id, slot.attempt});
  }
  return taken.size();
}

bool ContainerFact::runs(const BatchPlace& batch) const {
  return std::ranges::any_of(
      slots, [&](const auto& slot) { return slot.second.batch == batch && !slot.second.ending; });
}

WaitingByCaller waiting_in(const PoolFact& pool) {
  WaitingByCaller waiting;
  for (const auto& [place, fact] : pool.callers) {
    if (!fact.waiting.empty()) waiting[place.caller] += fact.waiting.size();
  }
  return waiting;
}

WaitingByCaller Facts::waiting_in(WorkspaceId workspace) const {
  WaitingByCaller waiting;
  for (const auto& [id, pool] : pools_) {
    if (pool.workspace != workspace) continue;
    for (const auto& [caller, count] : ember::waiting_in(pool)) waiting[caller] += count;
  }
  return waiting;
}

// One that has ended is known, and stays what it is, until its containers and its inputs are gone.
bool Facts::holds(PoolId id) const {
  const auto is_its = [&](const auto& entry) { return entry.second.pool == id; };
  return std::ranges::any_of(containers_, is_its) || std::ranges::any_of(inputs_, is_its);
}

void Facts::restart() {
  const std::uint64_t order = next_order_;
  *this = {};
  next_order_ = order;
}

void Facts::deploy(const AppDeployed& event) {
  for (auto& [id, pool] : pools_) {
    const bool named = std::any_of(event.pools.begin(), event.pools.end(),
                                   [&](const PoolSpec& spec) { return spec.pool == id; });
    if (pool.app == event.app && pool.end == PoolEnd::none && !named) pool.end = PoolEnd::retired;
  }
  for (const PoolSpec& spec : event.pools) {
    const auto [found, added] = pools_.try_emplace(spec.pool);
    if (!added && (found->second.end == PoolEnd::none || holds(spec.pool))) continue;
    found->second.spec = spec;
    found->second.app = event.app;
    found->second.workspace = event.workspace;
    found->second.end = PoolEnd::none;
    found->second.replaces = spec.replaces;
    note_maximum(spec.pool);
  }
  for (auto& [id, pool] : pools_) {
    if (pool.app == event.app) settle_rollout(id, pool);
  }
}

// What waits for a pool without containers goes to the one that takes over from it.
void Facts::settle_rollout(PoolId id, PoolFact& pool) {
  PoolFact* before = find_in(pools_, pool.replaces);
  const bool is_under_way = before && before->end == PoolEnd::none && pool.end == PoolEnd::none;
  if (!before || is_under_way) return;
  const PoolId replaced = std::exchange(pool.replaces, {});
  if (before->end == PoolEnd::none) note_maximum(replaced);
  if (pool.end == PoolEnd::none && before->end == PoolEnd::retired) note_maximum(id);
  if (pool.end != PoolEnd::none || before->end != PoolEnd::retired) return;
  const bool has_containers = std::ranges::any_of(containers_, [&](const auto& one) {
    return one.second.pool == replaced && !one.second.stopping;
  });
  if (has_containers) return;
  const WaitingInputs waiting = before->waiting;
  for (const auto& [place, input] : waiting) {
    InputFact& moved = inputs_.at(input);
    wait_no_more(moved);
    moved.pool = id;
    wait(input, moved);
  }
}

// Its function has its maximum; while a version comes up beside another, the higher one.
void Facts::note_maximum(PoolId id) {
  const PoolFact& pool = pools_.at(id);
  std::uint32_t most = pool.spec.settings.scaling.max_containers;
  for (const auto& [other_id, other] : pools_) {
    const bool rises = other_id == pool.replaces || other.replaces == id;
    if (!rises || other.end != PoolEnd::none || pool.end != PoolEnd::none) continue;
    most = std::max(most, other.spec.settings.scaling.max_containers);
  }
  max_containers_[pool.spec.function] = most;
}

void Facts::add(const PoolAdded& event) {
  const auto serving = std::ranges::find_if(pools_, [&](const auto& entry) {
    return entry.second.app == event.app && entry.second.end == PoolEnd::none;
  });
  if (serving == pools_.end()) return;
  const WorkspaceId workspace = serving->second.workspace;
  PoolFact& pool = pools_[event.pool.pool];
  pool.spec = event.pool;
  pool.app = event.app;
  pool.workspace = workspace;
  note_maximum(event.pool.pool);
}

void Facts::rescale(const ScalingChanged& event) {
  PoolFact* pool = find_in(pools_, event.pool);
  if (!pool || pool->end != PoolEnd::none) return;
  pool->spec.settings.scaling = event.scaling;
  note_maximum(event.pool);
}

void Facts::stop(AppId app) {
  for (auto& [id, pool] : pools_) {
    if (pool.app == app) pool.end = PoolEnd::stopped;
  }
}

// An input that ends after its caller was answered gives its slot back; the end of a running one is
// for the engine to answer.
void Facts::finish(const InputFinished& event, Time now) {
  ContainerFact* container = find_in(containers_, event.container);
  if (!container) return;
  const auto slot = container->slots.find(event.input);
  if (slot == container->slots.end() || slot->second.attempt != event.attempt) return;
  if (!slot->second.ending) return;
  container->slots.erase(slot);
  let_go(event.input, now);
}

// One that runs again does so a little later than its slot is free.
void Facts::let_go(InputId id, Time now) {
  InputFact* input = find_in(inputs_, id);
  if (!input || input->due == Time{}) return;
  input->container = {};
  input->due = std::max(input->due, now + kShortestRetryDelay);
}

// By timers alone.
void Facts::wake(Time now) {
  for (auto& [id, input] : inputs_) {
    if (input.due == Time{} || input.container || input.due > now) continue;
    input.due = {};
    wait(id, input);
  }
}

// The attempt is over; what has not let go of its slot is `ending` there.
void Facts::retry(const RetryInput& action, const Event& cause, Time now) {
  InputFact& input = inputs_.at(action.input);
  ContainerFact& container = containers_.at(input.container);
  ++input.retried;
  input.due = action.due;
  const auto* finished = std::get_if<InputFinished>(&cause);
  if (finished && finished->input == action.input) {
    free_slot(container, action.input, now);
    return let_go(action.input, now);
  }
  end_slot(container, action.input, now);
}

void Facts::end_slot(ContainerFact& container, InputId id, Time now) {
  ContainerFact::Taken& slot = container.slots.at(id);
  slot.ending = true;
  slot.ending_since = now;
  wait_for_rest(container, slot.batch, now);
}

void Facts::free_slot(ContainerFact& container, InputId id, Time now) {
  const BatchPlace batch = container.slots.at(id).batch;
  container.slots.erase(id);
  wait_for_rest(container, batch, now);
}

// Once none of a batch runs, those that ended before are to let go, too.
void Facts::wait_for_rest(ContainerFact& container, const BatchPlace& batch, Time now) {
  if (!batch.first || container.runs(batch)) return;
  for (auto& [id, slot] : container.slots) {
    if (slot.batch == batch) slot.ending_since = now;
  }
}

// Not where the attempt is over, and the container perhaps does not know it yet.
void Facts::pin(const InputPinned& event) {
  InputFact* input = find_in(inputs_, event.input);
  if (!input || input->attempt != event.attempt || input->due != Time{}) return;
  if (input->container == event.container) input->pinned = true;
}

// Its parent may have been answered already, where the batch that it was in goes on.
void Facts::adopt_child(const InputArrived& event) {
  for (const auto& [id, container] : containers_) {
    const auto slot = container.slots.find(event.parent);
    if (slot == container.slots.end()) continue;
    InputFact& child = inputs_[event.input];
    child.parent = event.parent;
    child.parent_attempt = slot->second.attempt;
    child.parent_container = id;
  }
}

void Facts::apply(const Event& event, Time now) {
  const auto with = [&](ContainerId id, auto&& change) {
    if (ContainerFact* container = find_in(containers_, id)) change(*container);
  };
  std::visit(Overload{
                 [&](const AppDeployed& one) { deploy(one); },
                 [&](const PoolAdded& one) { add(one); },
                 [&](const ScalingChanged& one) { rescale(one); },
                 [&](const AppStopped& one) { stop(one.app); },
                 [&](const InputArrived& one) {
                   const std::uint64_t order = next_order_++;
                   inputs_[one.input] = {one.pool, one.caller, order, now,         {},
                                         0,        {},         false, one.expires, one.priority};
                   wait(one.input, inputs_[one.input]);
                   if (one.parent) adopt_child(one);
                 },
                 [&](const InputFinished& one) { finish(one, now); },
                 [&](const InputPinned& one) { pin(one); },
                 [&](const ContainerStarted& one) {
                   with(one.container, [](ContainerFact& fact) { fact.confirmed = true; });
                 },
                 [&](const ContainerLoading& one) {
                   with(one.container, [](ContainerFact& fact) { fact.loading = true; });
                 },
                 [&](const ContainerReady& one) {
                   with(one.container, [](ContainerFact& fact) { fact.ready = true; });
                 },
                 [&](const ContainerAdopted& one) {
                   ContainerFact fact;
                   fact.pool = one.pool;
                   fact.node = one.node;
                   fact.devices = one.devices;
                   fact.confirmed = fact.adopted = true;
                   if (containers_.emplace(one.container, fact).second) {
                     ++held_[pools_.at(one.pool).spec.function];
                   }
                 },
                 [&](const NodeJoined& one) { nodes_[one.node] = one.capacity; },
                 [&](const NodeLost& one) { nodes_.erase(one.node); },
                 [&](const LeaseRestored& one) {
                   leases_[one.lease] = {one.node, one.devices, one.from, one.until};
                 },
                 [&](const DrainStarted&) { draining_ = true; },
                 [&](const TimerDue&) { wake(now); },
                 [](const auto&) {},
             },
             event);
}

void Facts::wait(InputId id, const InputFact& input) {
  PoolFact* pool = find_in(pools_, input.pool);
  if (!pool) return;
  CallerFact& caller = pool->callers[{input.caller, input.priority}];
  if (caller.waiting.empty()) caller.waits_since = pool->turns;
  const WaitingPlace place{input.priority, input.order};
  caller.waiting[place] = id;
  pool->waiting[place] = id;
}

void Facts::wait_no_more(const InputFact& input) {
  PoolFact* pool = find_in(pools_, input.pool);
  if (!pool) return;
  const WaitingPlace place{input.priority, input.order};
  pool->callers[{input.caller, input.priority}].waiting.erase(place);
  pool->waiting.erase(place);
}

void Facts::wait_again(InputId id, InputFact& input) {
  input.container = {};
  wait(id, input);
}

void Facts::take_inputs_off(ContainerFact& container, Time now) {
  for (const auto& [id, slot] : container.slots) {
    slot.ending ? let_go(id, now) : wait_again(id, inputs_.at(id));
  }
  container.slots.clear();
}

void Facts::end_input(InputId id) {
  const auto found = inputs_.find(id);
  if (found == inputs_.end()) return;
  const InputFact& input = found->second;
  wait_no_more(input);
  inputs_.erase(found);
}

void Facts::apply(const Action& action, const Event& cause, Time now) {
  std::visit(Overload{
                 [&](const StartContainer& one) {
                   ContainerFact fact;
                   fact.pool = one.pool;
                   fact.node = one.node;
                   fact.devices = one.devices;
                   fact.placed = now;
                   containers_[one.container] = fact;
                   ++held_[pools_.at(one.pool).spec.function];
                 },
                 [&](const StopContainer& one) {
                   ContainerFact* container = find_in(containers_, one.container);
                   if (!container) return;
                   container->stopping = true;
                   take_inputs_off(*container, now);
                 },
                 [&](const DispatchInput& one) {
                   InputFact& input = inputs_.at(one.input);
                   wait_no_more(input);
                   PoolFact& pool = pools_.at(input.pool);
                   pool.callers.at({input.caller, input.priority}).last_turn = ++pool.turns;
                   input.container = one.container;
                   input.attempt = one.attempt;
                   input.dispatched = now;
                   ContainerFact& container = containers_.at(one.container);
                   container.slots[one.input] = {one.attempt, false, {}, one.batch};
                 },
                 [&](const AnswerInput& one) {
                   const InputFact& input = inputs_.at(one.input);
                   free_slot(containers_.at(input.container), one.input, now);
                   end_input(one.input);
                 },
                 [&](const FailInput& one) {
                   const InputFact& input = inputs_.at(one.input);
                   ContainerFact* container = find_in(containers_, input.container);
                   if (container && input.due == Time{}) end_slot(*container, one.input, now);
                   end_input(one.input);
                 },
                 [&](const RetryInput& one) { retry(one, cause, now); },
                 [&](const GrantLease& one) {
                   leases_[one.lease] = {one.node, one.devices, one.from, one.until};
                 },
                 [&](const ReleaseLease& one) { leases_.erase(one.lease); },
                 [&](const ReleaseContainer& one) {
                   const auto found = containers_.find(one.container);
                   if (found == containers_.end()) return;
                   take_inputs_off(found->second, now);
                   --held_[pools_.at(found->second.pool).spec.function];
                   containers_.erase(found);
                 },
                 [](const auto&) {},
             },
             action);
}

}  // namespace ember
