// Inputs: from arrival over dispatch to the answer. The path of a warm call is here; in a steady
// load it allocates nothing and touches no list longer than a step.
#include <algorithm>
#include <optional>

#include "engine/steps.h"
#include "queue/admission.h"

namespace ember {
namespace {

// What a caller whom a full queue refused is told to wait at least, at most, and where nothing has
// ended yet by which to tell.
constexpr Duration kSoonestRetry = Duration::seconds(1);
constexpr Duration kLatestRetry = Duration::seconds(300);
constexpr Duration kBlindRetry = Duration::seconds(5);

void refuse(State& state, const InputArrived& event, ErrorCode code, const Reason& reason,
            Duration retry_after = {}) {
  InputReport report;
  report.arrived = report.finished = state.now;
  state.actions.emplace_back(FailInput{event.input, code, reason, {}, report, retry_after});
}

// When half of those who wait now will have been served: early enough that the pool does not run
// dry meanwhile. One caller's refused inputs are told to come back one after the other, as its
// turns come, so that a storm of them does not come back as one.
Duration retry_after(State& state, const State::Pool& pool, KeyId caller) {
  const std::uint32_t half = std::max(1u, pool.waiting.size() / 2);
  Duration wait = pool.pace.time_for(half).value_or(kBlindRetry);
  if (pool.backoff.holds(state.now)) wait = std::max(wait, pool.backoff.until() - state.now);
  wait = std::clamp(wait, kSoonestRetry, kLatestRetry);
  const Slot line = pool.waiting.find_line(caller);
  if (line == kNoSlot) return wait;
  Time& returns = state.caller_lines[line].returns;
  const Duration turn = pool.pace.time_for(pool.waiting.callers()).value_or(Duration{});
  returns = std::min(std::max(returns + turn, state.now + wait), state.now + kLatestRetry);
  return returns - state.now;
}

Slot add_input(State& state, const InputArrived& event, Slot pool) {
  const Slot slot = state.inputs.add();
  InputEntry& input = state.inputs[slot];
  input.id = event.input;
  input.caller = event.caller;
  input.priority = event.priority;
  input.pool = pool;
  input.order = state.next_order++;
  input.arrived = state.now;
  state.input_index.insert(event.input, slot);
  if (event.parent) await(state, slot, event.parent);
  return slot;
}

void forget_input(State& state, Slot slot) {
  leave_parent(state, slot);
  state.input_index.erase(state.inputs[slot].id);
  state.inputs.remove(slot);
}

void fail(State& state, Slot slot, const InputFailure& failure, Duration share) {
  const InputEntry& input = state.inputs[slot];
  state.actions.emplace_back(FailInput{input.id, failure.code, failure.reason, failure.evidence,
                                       report_of(state, input, share)});
}

// It no longer runs, and holds no slot: it is over, or waits for its next attempt.
void let_go(State& state, Slot slot) {
  state.inputs[slot].retries ? delay(state, slot) : forget_input(state, slot);
}

// The container's slot is free again; the input is no longer on it.
void leave_container(State& state, Slot slot) {
  InputEntry& input = state.inputs[slot];
  const Slot container_slot = input.container;
  State::Container& container = state.containers[container_slot];
  --state.pools[input.pool].in_flight;
  container.inputs.remove(state.inputs, slot);
  if (input.batch != kNoSlot) leave_batch(state, slot);
  input.container = kNoSlot;
  if (!container.inputs.empty() || container.stage != State::Stage::ready) return;
  container.idle_since = state.now;
  move_to_group(state, container_slot, State::kIdle);
}

// Ends the input's part of the execute time, as far as it has been metered, and of the deadlines;
// it still holds its slot.
Duration stop_running(State& state, Slot slot) {
  InputEntry& input = state.inputs[slot];
  state.pools[input.pool].running.remove(state.inputs, slot);
  if (input.batch != kNoSlot) --state.batches[input.batch].running;
  leave_children(state, slot);
  return state.containers[input.container].meter.leave(input.share_start);
}

void stop_if_empty(State& state, Slot slot) {
  const State::Container& container = state.containers[slot];
  if (!container.inputs.empty() || container.stage != State::Stage::ready) return;
  const State::Function& function = state.functions[state.pools[container.pool].function];
  const Reason room{ReasonCode::over_desired, function.held, function.max_containers};
  const bool asked = container.stop_reason.code != ReasonCode::none;
  stop_container(state, slot, StopMode::graceful, asked ? container.stop_reason : room);
}

void stop_waiting(State& state, Slot slot) {
  State::Pool& pool = state.pools[state.inputs[slot].pool];
  end_waiting(state, slot);
  pool.waiting.remove(state.inputs, state.caller_lines, slot);
  state.input_deadlines.remove(state.inputs, slot);
  state.workspaces[pool.workspace].waiting.remove(state.inputs[slot].caller);
}

void enqueue(State& state, Slot slot, const InputArrived& event) {
  State::Pool& pool = state.pools[state.inputs[slot].pool];
  if (pool.is_batched()) {
    if (pool.waiting.empty()) pool.gathering.begin(state.now);
    pool.gathering.arrived(state.now, pool.settings.batching);
  }
  pool.waiting.push(state.inputs, state.caller_lines, slot);
  begin_waiting(state, slot);
  expire_at(state, slot, event.expires);
  state.workspaces[pool.workspace].waiting.add(event.caller);
}

// Moving averages over batches, not over their inputs.
void note_pace(State& state, const InputEntry& input) {
  State::Pool& pool = state.pools[input.pool];
  pool.pace.ended(input.dispatched, state.now);
  const bool ends_batch = input.batch != kNoSlot && state.batches[input.batch].inputs == 1;
  if (ends_batch) pool.gathering.ran(state.now - input.dispatched);
}

enum class Company : std::uint8_t { alone, others };

// It holds no slot, or is ending: then it goes on to do so.
void fail_delayed_input(State& state, Slot slot, const InputFailure& failure) {
  const bool ending = state.inputs[slot].state == InputState::ending;
  stop_delaying(state, slot);
  fail(state, slot, failure, {});
  if (!ending) forget_input(state, slot);
}

// Whether the function itself is to blame, and not perhaps another input beside it.
bool is_own_failure(const InputFailure& failure) {
  return failure.reason.code != ReasonCode::container_lost_repeatedly;
}

// The input's container ended under it. If that is the container's own doing, the input pays: at
// once if it was alone, else when it has been among the suspects often enough. Nothing: it runs
// again.
std::optional<InputFailure> charge(State& state, Slot slot, ExitCause cause, Company company) {
  if (cause == ExitCause::stopped || cause == ExitCause::node_lost) return std::nullopt;
  InputEntry& input = state.inputs[slot];
  const ContainerId container = state.containers[input.container].id;
  ++input.lost;
  if (company == Company::alone && cause == ExitCause::out_of_memory) {
    const std::int64_t limit_bytes = state.pools[input.pool].settings.resources.memory_bytes;
    return InputFailure{
        ErrorCode::out_of_memory, {ReasonCode::container_out_of_memory, limit_bytes}, container};
  }
  if (company == Company::alone && cause == ExitCause::over_gpu_share) {
    const std::int64_t share_bytes = state.pools[input.pool].settings.resources.gpu.share_bytes;
    const std::int64_t used_bytes = state.containers[input.container].gpu_used_bytes;
    return InputFailure{ErrorCode::out_of_memory,
                        {ReasonCode::container_over_gpu_share, share_bytes, used_bytes},
                        container};
  }
  if (company == Company::alone) {
    return InputFailure{ErrorCode::container_crashed, {ReasonCode::container_crashed}, container};
  }
  if (input.lost < state.options.lost_attempts) return std::nullopt;
  return InputFailure{
      ErrorCode::container_crashed, {ReasonCode::container_lost_repeatedly, input.lost}, container};
}

// Of an input whose container has gone, through no fault of its own: it fails if it must not run
// again.
std::optional<InputFailure> failure_if_pinned(const State& state, const InputEntry& input) {
  if (!input.pinned) return std::nullopt;
  return InputFailure{ErrorCode::container_crashed,
                      {ReasonCode::container_lost_pinned},
                      state.containers[input.container].id};
}

}  // namespace

Reason refusal_of(const State& state, const State::Pool& pool, KeyId caller,
                  std::uint32_t on_their_way) {
  const std::uint32_t limit = pool.settings.scaling.queue_limit;
  // Whose those on their way are is not known: they count as the caller's.
  const std::uint32_t own = pool.waiting.size_of(caller) + on_their_way;
  const std::uint32_t callers = std::max(pool.waiting.callers(), own > 0 ? 1u : 0u);
  if (!admits({limit, pool.waiting.size() + on_their_way, own, callers})) {
    return {ReasonCode::queue_full, limit};
  }
  const std::uint32_t most = state.options.workspace_queue_limit;
  const CallerCounts& all = state.workspaces[pool.workspace].waiting;
  if (admits({most, all.total(), all.of(caller), all.callers()})) return {};
  return {ReasonCode::workspace_full, most};
}

InputReport report_of(const State& state, const InputEntry& input, Duration share) {
  InputReport report;
  report.arrived = input.arrived;
  report.dispatched = input.dispatched;
  report.finished = state.now;
  report.execute_share = share;
  if (input.container != kNoSlot) report.container = state.containers[input.container].id;
  report.attempt = input.attempt;
  report.cold = input.cold;
  return report;
}

void dispatch(State& state, Slot slot, Slot container_slot, const BatchPlace& batch) {
  InputEntry& input = state.inputs[slot];
  State::Container& container = state.containers[container_slot];
  State::Pool& pool = state.pools[input.pool];
  if (container.inputs.empty()) move_to_group(state, container_slot, State::kBusy);
  advance_meter(state, container_slot);
  input.state = InputState::running;
  input.container = container_slot;
  input.dispatched = state.now;
  input.share_start = container.meter.join();
  ++input.attempt;
  ++pool.in_flight;
  pool.running.push_back(state.inputs, slot);
  container.inputs.push_back(state.inputs, slot);
  update_free_slots(state, container_slot);
  state.actions.emplace_back(DispatchInput{input.id, input.attempt, container.id, batch});
}

Slot take_waiting(State& state, State::Pool& pool) {
  const Slot slot = pool.waiting.take(state.inputs, state.caller_lines);
  end_waiting(state, slot);
  state.input_deadlines.remove(state.inputs, slot);
  state.workspaces[pool.workspace].waiting.remove(state.inputs[slot].caller);
  return slot;
}

void wait_again(State& state, Slot slot) {
  State::Pool& pool = state.pools[state.inputs[slot].pool];
  if (pool.waiting.empty()) pool.gathering.begin(state.now);
  pool.waiting.give_back(state.inputs, state.caller_lines, slot);
  begin_waiting(state, slot);
  state.workspaces[pool.workspace].waiting.add(state.inputs[slot].caller);
}

void fail_waiting_input(State& state, Slot slot, const InputFailure& failure) {
  stop_waiting(state, slot);
  fail(state, slot, failure, {});
  forget_input(state, slot);
}

void handle_event(State& state, const InputArrived& event) {
  if (!event.input || state.input_index.find(event.input) != kNoSlot) return;
  const Slot pool_slot = state.pool_index.find(event.pool);
  if (pool_slot == kNoSlot || state.pools[pool_slot].ended == ReasonCode::app_stopped) {
    return refuse(state, event, ErrorCode::cancelled, {ReasonCode::app_stopped});
  }
  const bool granted = event.admission == Admission::granted;
  if (state.draining && event.origin == Origin::outside && !granted) {
    return refuse(state, event, ErrorCode::unavailable, {ReasonCode::draining});
  }

  if (event.expires <= state.now) {
    return refuse(state, event, ErrorCode::timed_out, {ReasonCode::expired, 0}, {});
  }

  State::Pool& pool = state.pools[pool_slot];
  const bool has_room = !pool.free_slots.empty();
  if (has_room && !pool.is_batched()) {
    dispatch(state, add_input(state, event, pool_slot), pool.free_slots.top().slot, {});
  } else if (const Reason full = granted ? Reason{} : refusal_of(state, pool, event.caller, 0);
             full.code != ReasonCode::none && !has_room) {
    return refuse(state, event, ErrorCode::resource_exhausted, full,
                  retry_after(state, pool, event.caller));
  } else {
    enqueue(state, add_input(state, event, pool_slot), event);
    const bool is_whole = pool.waiting.size() >= pool.inputs_per_slot();
    // Else they go by a timer, even if it is due at once: what comes with this one runs with it.
    if (is_whole || full.code != ReasonCode::none) dispatch_gathered(state, pool_slot);
  }
  rescale(state, pool_slot);
}

void handle_event(State& state, const InputCancelled& event) {
  const Slot slot = state.input_index.find(event.input);
  if (slot == kNoSlot) return;
  const InputEntry& input = state.inputs[slot];
  const Slot pool = input.pool;
  const InputFailure failure{ErrorCode::cancelled, {ReasonCode::caller_cancelled}, {}};
  if (input.state == InputState::waiting) {
    fail_waiting_input(state, slot, failure);
  } else if (input.state == InputState::running) {
    end_early(state, slot, failure);
  } else if (input.state == InputState::delayed || input.retries) {
    fail_delayed_input(state, slot, failure);
  }
  rescale(state, pool);
}

void handle_event(State& state, const InputFinished& event) {
  const Slot slot = state.input_index.find(event.input);
  if (slot == kNoSlot) return;
  const InputEntry& input = state.inputs[slot];
  if (input.container == kNoSlot || input.attempt != event.attempt) return;
  if (state.containers[input.container].id != event.container) return;

  if (input.state == InputState::running) {
    advance_meter(state, input.container);
    const Duration share = stop_running(state, slot);
    if (event.outcome == InputOutcome::failed && may_retry(state, slot)) {
      const ContainerId evidence = state.containers[input.container].id;
      retry(state, slot, {ErrorCode::user_exception, {ReasonCode::attempt_failed}, evidence},
            share);
    } else {
      state.actions.emplace_back(
          AnswerInput{input.id, event.outcome, report_of(state, input, share)});
    }
  }
  const Slot pool = input.pool;
  const Slot container = input.container;
  note_pace(state, input);
  leave_container(state, slot);
  let_go(state, slot);
  update_free_slots(state, container);
  if (state.containers[container].yielding) stop_if_empty(state, container);
  dispatch_waiting(state, pool);
  rescale(state, pool);
}

void handle_event(State& state, const InputPinned& event) {
  const Slot slot = state.input_index.find(event.input);
  if (slot == kNoSlot) return;
  InputEntry& input = state.inputs[slot];
  if (input.state != InputState::running || input.attempt != event.attempt) return;
  if (state.containers[input.container].id == event.container) input.pinned = true;
}

void dispatch_waiting(State& state, Slot pool_slot) {
  State::Pool& pool = state.pools[pool_slot];
  if (pool.is_batched()) return dispatch_batches(state, pool_slot);
  while (!pool.waiting.empty() && !pool.free_slots.empty()) {
    const Slot container = pool.free_slots.top().slot;
    const Slot slot = take_waiting(state, pool);
    InputEntry& input = state.inputs[slot];
    input.cold = state.containers[container].ready >= input.arrived;
    dispatch(state, slot, container, {});
  }
}

void fail_waiting(State& state, Slot pool_slot, const InputFailure& failure) {
  State::Pool& pool = state.pools[pool_slot];
  while (!pool.waiting.empty()) {
    const Slot slot = take_waiting(state, pool);
    fail(state, slot, failure, {});
    forget_input(state, slot);
  }
}

void move_waiting(State& state, Slot from, Slot to) {
  const Time since = state.pools[from].gathering.since();
  const bool is_first = state.pools[to].waiting.empty() && !state.pools[from].waiting.empty();
  while (!state.pools[from].waiting.empty()) {
    const Slot slot = take_waiting(state, state.pools[from]);
    InputEntry& input = state.inputs[slot];
    input.pool = to;
    wait_again(state, slot);
    if (input.attempt == 0) expire_at(state, slot, input.due);
  }
  if (is_first) state.pools[to].gathering.begin(since);  // they have waited for a batch already
}

void fail_delayed(State& state, Slot pool_slot, const InputFailure& failure) {
  State::Pool& pool = state.pools[pool_slot];
  while (!pool.delayed.empty()) fail_delayed_input(state, pool.delayed.front(), failure);
}

void end_early(State& state, Slot slot, const InputFailure& failure) {
  InputEntry& input = state.inputs[slot];
  State::Container& container = state.containers[input.container];
  advance_meter(state, input.container);
  const Duration share = stop_running(state, slot);
  if (failure.code == ErrorCode::timed_out && may_retry(state, slot)) {
    retry(state, slot, failure, share);
  } else {
    fail(state, slot, failure, share);
  }
  input.state = InputState::ending;
  input.overran = failure.code == ErrorCode::timed_out;
  input.kill_at = Time::never();
  if (input.batch != kNoSlot) return interrupt_batch(state, slot);
  input.kill_at = state.now + state.options.cancel_grace;
  container.kill_due = std::min(container.kill_due, input.kill_at);
  arm_container(state, input.container);
  state.actions.emplace_back(CancelInput{input.id, input.attempt, container.id});
}

void take_inputs_back(State& state, Slot container) {
  auto& inputs = state.containers[container].inputs;
  while (!inputs.empty()) {
    const Slot slot = inputs.front();
    const bool running = state.inputs[slot].state == InputState::running;
    const auto failure = failure_if_pinned(state, state.inputs[slot]);
    if (running) {
      const Duration share = stop_running(state, slot);
      if (failure) fail(state, slot, *failure, share);
    }
    leave_container(state, slot);
    running && !failure ? wait_again(state, slot) : let_go(state, slot);
  }
}

void settle_inputs(State& state, Slot container_slot, ExitCause cause, Duration overrun) {
  const auto& inputs = state.containers[container_slot].inputs;
  const Company company = inputs.size() == 1 ? Company::alone : Company::others;
  while (!inputs.empty()) {
    const Slot slot = inputs.front();
    const bool running = state.inputs[slot].state == InputState::running;
    bool over = !running;
    if (running) {
      Duration share = stop_running(state, slot);
      const Duration back = std::min(share, overrun);
      share = share - back;
      overrun = overrun - back;
      auto failure = charge(state, slot, cause, company);
      if (!failure) failure = failure_if_pinned(state, state.inputs[slot]);
      over = failure.has_value();
      if (over && is_own_failure(*failure) && may_retry(state, slot)) {
        retry(state, slot, *failure, share);
      } else if (over) {
        fail(state, slot, *failure, share);
      }
    }
    leave_container(state, slot);
    over ? let_go(state, slot) : wait_again(state, slot);
  }
}

}  // namespace ember
