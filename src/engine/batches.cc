// Inputs of a batched function: when they go, and how those that run together end. What is one
// execution to the function is as many inputs here, each with its own caller, answer and retries;
// they share a slot, their deadline and an interruption.
#include <algorithm>
#include <utility>

#include "engine/steps.h"

namespace ember {
namespace {

void dispatch_batch(State& state, Slot pool_slot) {
  State::Pool& pool = state.pools[pool_slot];
  const Slot container_slot = pool.free_slots.top().slot;
  const Slot batch_slot = state.batches.add();
  State::Batch& batch = state.batches[batch_slot];
  batch.inputs = std::min(pool.waiting.size(), pool.settings.batching.max_batch_size);
  ++pool.batches;
  ++state.containers[container_slot].batches;
  const std::uint32_t size = batch.running = batch.inputs;
  for (std::uint32_t i = 0; i < size; ++i) {
    const Slot slot = take_waiting(state, pool);
    InputEntry& input = state.inputs[slot];
    if (i == 0) {
      batch.id = input.id;
      batch.attempt = static_cast<Attempt>(input.attempt + 1);
    }
    input.cold = state.containers[container_slot].ready >= input.arrived;
    input.batch = batch_slot;
    dispatch(state, slot, container_slot, {batch.id, batch.attempt, size});
  }
}

// Nobody waits for any of it any more: those that have not let go yet have the grace for that.
void expect_end(State& state, Slot container_slot, Slot batch_slot) {
  State::Container& container = state.containers[container_slot];
  state.batches[batch_slot].is_over = true;
  const Time kill_at = state.now + state.options.cancel_grace;
  for (Slot slot = container.inputs.front(); slot != kNoSlot;
       slot = container.inputs.next(state.inputs, slot)) {
    if (state.inputs[slot].batch == batch_slot) state.inputs[slot].kill_at = kill_at;
  }
  container.kill_due = std::min(container.kill_due, kill_at);
  arm_container(state, container_slot);
}

}  // namespace

Time batch_due(const State& state, const State::Pool& pool) {
  if (!pool.is_batched() || pool.waiting.empty() || pool.free_slots.empty()) return Time::never();
  const Batching& batching = pool.settings.batching;
  const bool none_follows = state.mode(pool) == PoolMode::ending;
  if (none_follows || pool.waiting.size() >= batching.max_batch_size) {
    return pool.gathering.since();
  }
  const State::Container& next = state.containers[pool.free_slots.top().slot];
  return next.inputs.empty() ? pool.gathering.due_on_idle(batching, pool.waiting.size())
                             : pool.gathering.due(batching);
}

void dispatch_batches(State& state, Slot pool_slot) {
  const State::Pool& pool = state.pools[pool_slot];
  while (batch_due(state, pool) <= state.now) dispatch_batch(state, pool_slot);
}

bool dispatch_gathered(State& state, Slot pool_slot) {
  if (batch_due(state, state.pools[pool_slot]) == Time::never()) return false;
  dispatch_batch(state, pool_slot);
  return true;
}

void interrupt_batch(State& state, Slot slot) {
  const InputEntry& input = state.inputs[slot];
  const State::Batch& batch = state.batches[input.batch];
  if (batch.running > 0) return;
  expect_end(state, input.container, input.batch);
  state.actions.emplace_back(
      CancelInput{batch.id, batch.attempt, state.containers[input.container].id});
}

void leave_batch(State& state, Slot slot) {
  InputEntry& input = state.inputs[slot];
  const Slot batch_slot = std::exchange(input.batch, kNoSlot);
  State::Batch& batch = state.batches[batch_slot];
  if (--batch.inputs > 0) {
    if (batch.running == 0 && !batch.is_over) expect_end(state, input.container, batch_slot);
    return;
  }
  --state.containers[input.container].batches;
  --state.pools[input.pool].batches;
  state.batches.remove(batch_slot);
}

}  // namespace ember
