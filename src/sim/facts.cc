#include "sim/facts.h"

#include <algorithm>

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

WaitingByCaller waiting_in(const PoolFact& pool) {
  WaitingByCaller waiting;
  for (const auto& [caller, fact] : pool.callers) {
    if (!fact.waiting.empty()) waiting[caller] = fact.waiting.size();
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
    if (!added && found->second.end == PoolEnd::none) continue;
    found->second.spec = spec;
    found->second.app = event.app;
    found->second.workspace = event.workspace;
    found->second.end = PoolEnd::none;
    max_containers_[spec.function] = spec.settings.scaling.max_containers;
  }
}

void Facts::stop(AppId app) {
  for (auto& [id, pool] : pools_) {
    if (pool.app == app) pool.end = PoolEnd::stopped;
  }
}

// An input that ends after its caller was answered gives its slot back; the end of a running one is
// for the engine to answer.
void Facts::finish(const InputFinished& event) {
  ContainerFact* container = find_in(containers_, event.container);
  if (!container) return;
  const auto slot = container->slots.find(event.input);
  if (slot == container->slots.end() || slot->second.attempt != event.attempt) return;
  if (slot->second.ending) container->slots.erase(slot);
}

void Facts::pin(const InputPinned& event) {
  InputFact* input = find_in(inputs_, event.input);
  if (!input || input->attempt != event.attempt || !input->container) return;
  if (input->container == event.container) input->pinned = true;
}

void Facts::apply(const Event& event, Time now) {
  const auto with = [&](ContainerId id, auto&& change) {
    if (ContainerFact* container = find_in(containers_, id)) change(*container);
  };
  std::visit(Overload{
                 [&](const AppDeployed& one) { deploy(one); },
                 [&](const AppStopped& one) { stop(one.app); },
                 [&](const InputArrived& one) {
                   const std::uint64_t order = next_order_++;
                   inputs_[one.input] = {one.pool, one.caller, order, now, {}, 0, {}, false};
                   wait(one.input, inputs_[one.input]);
                 },
                 [&](const InputFinished& one) { finish(one); },
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
                 [](const auto&) {},
             },
             event);
}

void Facts::wait(InputId id, const InputFact& input) {
  PoolFact* pool = find_in(pools_, input.pool);
  if (!pool) return;
  CallerFact& caller = pool->callers[input.caller];
  if (caller.waiting.empty()) caller.waits_since = pool->turns;
  caller.waiting[input.order] = id;
  pool->waiting[input.order] = id;
}

void Facts::wait_no_more(const InputFact& input) {
  PoolFact* pool = find_in(pools_, input.pool);
  if (!pool) return;
  pool->callers[input.caller].waiting.erase(input.order);
  pool->waiting.erase(input.order);
}

void Facts::wait_again(InputId id, InputFact& input) {
  input.container = {};
  wait(id, input);
}

void Facts::take_inputs_off(ContainerFact& container) {
  for (const auto& [id, slot] : container.slots) {
    if (!slot.ending) wait_again(id, inputs_.at(id));
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

void Facts::apply(const Action& action, Time now) {
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
                   take_inputs_off(*container);
                 },
                 [&](const DispatchInput& one) {
                   InputFact& input = inputs_.at(one.input);
                   wait_no_more(input);
                   PoolFact& pool = pools_.at(input.pool);
                   pool.callers.at(input.caller).last_turn = ++pool.turns;
                   input.container = one.container;
                   input.attempt = one.attempt;
                   input.dispatched = now;
                   containers_.at(one.container).slots[one.input] = {one.attempt, false, {}};
                 },
                 [&](const AnswerInput& one) {
                   const InputFact& input = inputs_.at(one.input);
                   containers_.at(input.container).slots.erase(one.input);
                   end_input(one.input);
                 },
                 [&](const FailInput& one) {
                   const InputFact& input = inputs_.at(one.input);
                   if (ContainerFact* container = find_in(containers_, input.container)) {
                     ContainerFact::Taken& slot = container->slots.at(one.input);
                     slot.ending = true;
                     slot.ending_since = now;
                   }
                   end_input(one.input);
                 },
                 [&](const GrantLease& one) {
                   leases_[one.lease] = {one.node, one.devices, one.from, one.until};
                 },
                 [&](const ReleaseLease& one) { leases_.erase(one.lease); },
                 [&](const ReleaseContainer& one) {
                   const auto found = containers_.find(one.container);
                   if (found == containers_.end()) return;
                   take_inputs_off(found->second);
                   --held_[pools_.at(found->second.pool).spec.function];
                   containers_.erase(found);
                 },
                 [](const auto&) {},
             },
             action);
}

}  // namespace ember
