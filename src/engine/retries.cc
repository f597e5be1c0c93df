// Inputs that wait for a time: for their next attempt after a failed one, or until they expire.
#include <algorithm>

#include "engine/steps.h"
#include "queue/retry_delay.h"

namespace ember {
namespace {

void wake(State& state, Slot slot) {
  InputEntry& input = state.inputs[slot];
  state.pools[input.pool].delayed.remove(state.inputs, slot);
  input.due = Time::never();
  wait_again(state, slot);
}

// What failed as one batch comes back as one, a few microseconds apart as it was told of.
Time next_whole_ms(Time time) { return Time::from_ms((time.us + 999) / 1000); }

// One that waits for its batch alone takes that with it instead.
void expire(State& state, Slot slot) {
  const InputEntry& input = state.inputs[slot];
  while (input.state == InputState::waiting && dispatch_gathered(state, input.pool)) {
  }
  if (input.state != InputState::waiting) return;
  const Duration given = std::max(input.due - input.arrived, Duration{});
  fail_waiting_input(state, slot,
                     {ErrorCode::timed_out, {ReasonCode::expired, given.whole_ms()}, {}});
}

}  // namespace

bool may_retry(const State& state, Slot slot) {
  const InputEntry& input = state.inputs[slot];
  const State::Pool& pool = state.pools[input.pool];
  return !input.pinned && pool.ended != ReasonCode::app_stopped &&
         input.retried < pool.settings.retries.max_retries;
}

void retry(State& state, Slot slot, const InputFailure& failure, Duration share) {
  InputEntry& input = state.inputs[slot];
  State::Pool& pool = state.pools[input.pool];
  input.state = InputState::ending;
  input.retries = true;
  input.due = state.now + retry_delay(pool.settings.retries, input.retried++);
  if (pool.is_batched()) input.due = next_whole_ms(input.due);
  pool.delayed.push_back(state.inputs, slot);
  state.actions.emplace_back(RetryInput{input.id, failure.code, failure.reason,
                                        report_of(state, input, share), input.due});
}

void delay(State& state, Slot slot) {
  InputEntry& input = state.inputs[slot];
  input.state = InputState::delayed;
  input.retries = false;
  input.due = std::max(input.due, state.now + kShortestRetryDelay);
  state.input_deadlines.put(state.inputs, slot, {input.due, input.id.value});
}

void stop_delaying(State& state, Slot slot) {
  InputEntry& input = state.inputs[slot];
  state.pools[input.pool].delayed.remove(state.inputs, slot);
  state.input_deadlines.remove(state.inputs, slot);
  input.retries = false;
}

void expire_at(State& state, Slot slot, Time at) {
  if (at == Time::never()) return;
  InputEntry& input = state.inputs[slot];
  input.due = at;
  state.input_deadlines.put(state.inputs, slot, {at, input.id.value});
}

// All of them wait before any of them goes on, so that turns are fair.
void inputs_due(State& state) {
  std::vector<Slot> pools;
  while (!state.input_deadlines.empty() && state.input_deadlines.top().key.at <= state.now) {
    const Slot slot = state.input_deadlines.top().slot;
    const Slot pool = state.inputs[slot].pool;
    state.input_deadlines.remove(state.inputs, slot);
    state.inputs[slot].state == InputState::delayed ? wake(state, slot) : expire(state, slot);
    if (std::ranges::find(pools, pool) == pools.end()) pools.push_back(pool);
  }
  for (const Slot pool : pools) {
    dispatch_waiting(state, pool);
    rescale(state, pool);
  }
}

}  // namespace ember
