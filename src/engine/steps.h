// The steps that event handlers are made of, and the handlers themselves. Slots passed in are in
// use; a step that may remove the record it was given says so.
#pragma once

#include "engine/state.h"

namespace ember {

// --- inputs.cc: the life of an input ----------------------------------------------------------

void handle_event(State& state, const InputArrived& event);
void handle_event(State& state, const InputCancelled& event);
void handle_event(State& state, const InputFinished& event);
void handle_event(State& state, const InputPinned& event);

struct InputFailure {
  ErrorCode code = ErrorCode::internal;
  Reason reason;
  ContainerId evidence;
};

// The input, which waits no more, goes on to a container that has a free slot.
void dispatch(State& state, Slot input, Slot container, const BatchPlace& batch);
// Takes the one whose turn it is out of the queue.
Slot take_waiting(State& state, State::Pool& pool);
// Gives waiting inputs to free slots while there are both, but for those that wait for their batch.
void dispatch_waiting(State& state, Slot pool);
// Fails the waiting inputs of a pool, all of them.
void fail_waiting(State& state, Slot pool, const InputFailure& failure);
void fail_waiting_input(State& state, Slot input, const InputFailure& failure);
// What waits in a pool waits in another one from now on, each at its place.
void move_waiting(State& state, Slot from, Slot to);
// Fails those of a pool that wait for their next attempt, all of them.
void fail_delayed(State& state, Slot pool, const InputFailure& failure);
// Back to its place in the queue, after an attempt.
void wait_again(State& state, Slot input);
// Answers the caller of a running input now and asks the runner to give the slot back.
void end_early(State& state, Slot input, const InputFailure& failure);
// Takes all inputs off a container that is killed: running ones wait again, without charge; those
// that must not run again fail.
void take_inputs_back(State& state, Slot container);
// Settles all inputs of a container that ended by itself or with its node; `overrun` is execute
// time to take back from their shares.
void settle_inputs(State& state, Slot container, ExitCause cause, Duration overrun);

// Why an input may not wait in the pool, with so many more on their way to it; none if it may.
Reason refusal_of(const State& state, const State::Pool& pool, KeyId caller,
                  std::uint32_t on_their_way);
// Where its time went, with this share of its container's execute time.
InputReport report_of(const State& state, const InputEntry& input, Duration share);

// --- batches.cc: inputs that run together -----------------------------------------------------

// When the next batch of the pool is to go; never while nothing waits or no slot is free.
Time batch_due(const State& state, const State::Pool& pool);
// Gives batches that are due to free slots.
void dispatch_batches(State& state, Slot pool);
// What waits for its batch goes at once, where a slot is free for it; whether it was.
bool dispatch_gathered(State& state, Slot pool);
// Its caller has been answered while its batch runs: that is interrupted if it was the last one.
void interrupt_batch(State& state, Slot input);
// It has let go of its container. The last one frees the slot.
void leave_batch(State& state, Slot input);

// --- retries.cc: what waits for a time --------------------------------------------------------

bool may_retry(const State& state, Slot input);
// Its attempt has failed, and it holds its slot yet: another one follows.
void retry(State& state, Slot input, const InputFailure& failure, Duration share);
// Its slot is free now: it waits for its next attempt.
void delay(State& state, Slot input);
// No attempt follows any more. One that is ending goes on to.
void stop_delaying(State& state, Slot input);
// Of one that waits: fails it then, if it still does.
void expire_at(State& state, Slot input, Time at);
void inputs_due(State& state);

// --- deadlocks.cc: who waits for whom ---------------------------------------------------------

void handle_event(State& state, const InputAwaited& event);
// The parent, if it or its batch runs, waits for the input from now on.
void await(State& state, Slot input, InputId parent);
// Its parent does not wait for it any more.
void leave_parent(State& state, Slot input);
// It does not run any more, and waits for nobody; what it waited for in a batch, that goes on to.
void leave_children(State& state, Slot input);
// It has begun or ceased to wait for a slot.
void begin_waiting(State& state, Slot input);
void end_waiting(State& state, Slot input);
// Fails what can never start because its slot is held by what waits for it.
void look_for_deadlock(State& state, Slot pool);

// --- containers.cc: what nodes and runners say ------------------------------------------------

void handle_event(State& state, const ContainerStarted& event);
void handle_event(State& state, const ContainerLoading& event);
void handle_event(State& state, const ContainerReady& event);
void handle_event(State& state, const ContainerRefused& event);
void handle_event(State& state, const ContainerExited& event);
void handle_event(State& state, const EgressReported& event);
void handle_event(State& state, const ContainerAdopted& event);
void handle_event(State& state, const ContainerUnwanted& event);

// --- lifecycle.cc: how containers begin, move and end -----------------------------------------

// A record in its pool's starting group, without a reservation yet.
Slot add_container(State& state, ContainerId id, Slot pool, NodeId node);
void reserve(State& state, Slot container, const std::vector<DeviceId>& devices);
void move_to_group(State& state, Slot container, State::Group group);
// Puts the container in or out of its pool's free slots, as it stands now.
void update_free_slots(State& state, Slot container);
// Lets the container's meter run up to now, and records windows that are over.
void advance_meter(State& state, Slot container);

// Graceful: it has no inputs. By kill: its inputs have been taken off or are taken back.
void stop_container(State& state, Slot container, StopMode mode, const Reason& reason);
// A container did not become ready: back off, and after some in a row fail those who wait.
void count_failed_start(State& state, Slot pool, ContainerId container);
// Its node would not start a container: leave that node alone for a while; after many in a row on
// whatever nodes fail those who wait. A lasting refusal counts as a failed start instead.
void count_refused_start(State& state, Slot container, Refusal refusal);
// Records the rest of its usage, settles its inputs and forgets the container. A refused start is
// not a failed one: the node's no says nothing about the container.
enum class Start : std::uint8_t { held_resources, refused };
void end_container(State& state, Slot container, Time at, ExitCause cause, Start start);

// --- scaling.cc: how many containers ----------------------------------------------------------

// Starts or stops containers of the pool as it now needs, arms its timer, and forgets the pool if
// it is retired and has nothing left.
void rescale(State& state, Slot pool);
void rescale_function(State& state, Slot function);
// All pools of the app's version that comes up: one of them has, and may have been waited for.
void rescale_rising(State& state, Slot app);
// Its function is at its maximum and the pool has work but no container: makes another pool of the
// function give one up, or notes that it wants one (room.cc).
void make_room(State& state, Slot pool);
// There is no room beside the pool that this one replaces: makes that give up a container, as far
// as this one is to have some before it takes over.
void take_room(State& state, Slot pool);
// Lets the function's pools without containers try again if `pool` has one that it could give up.
void offer_room(State& state, Slot pool);
// Resources came free: those who wait for them try again.
void use_room(State& state);

// --- timers.cc --------------------------------------------------------------------------------

void handle_event(State& state, const TimerDue& event);
// Makes sure that the pool is looked at when it next needs it; costs nothing if it already is.
void arm_pool(State& state, Slot pool);
void arm_container(State& state, Slot container);

// --- leases.cc --------------------------------------------------------------------------------

void handle_event(State& state, const LeaseAsked& event);
void handle_event(State& state, const LeaseEnded& event);
void handle_event(State& state, const LeaseRestored& event);
// Gives devices that are free to those who wait for a lease, the first first.
void grant_waiting_leases(State& state);
// Records windows that are over and ends leases whose time is.
void leases_due(State& state);
// A node has come: its leased devices are so again. It was lost: nothing is metered there.
void resume_leases(State& state, NodeId node);
void pause_leases(State& state, NodeId node);

// --- deploys.cc, nodes.cc ---------------------------------------------------------------------

void handle_event(State& state, const AppDeployed& event);
void handle_event(State& state, const PoolAdded& event);
void handle_event(State& state, const ScalingChanged& event);
void handle_event(State& state, const AppStopped& event);
void handle_event(State& state, const RecoveryEnded& event);
void handle_event(State& state, const DrainStarted& event);
void handle_event(State& state, const NodeJoined& event);
void handle_event(State& state, const NodeLost& event);
// Forgets a retired pool that has neither containers nor inputs; nothing happens to another.
void forget_if_done(State& state, Slot pool);

}  // namespace ember
