// What can happen to the engine. Events carry ids and handles only, never bodies, and no path of
// one machine. The driver stamps times and makes ids; it is also the one to check that what users
// sent is valid before it becomes an event.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "model/function.h"
#include "model/ids.h"
#include "model/node.h"
#include "model/priority.h"
#include "model/workspace.h"

namespace ember {

// --- what is deployed -------------------------------------------------------------------------

// Whether its containers are put beside each other, or apart where there is room.
enum class Spread : std::uint8_t { packed, apart };

struct PoolSpec {
  PoolId pool;          // new for each deploy
  FunctionId function;  // the same over all versions of the function
  FunctionSettings settings;
  Spread spread = Spread::packed;
  PoolId replaces = {};  // of an earlier version; zero: none
};

// A new version of an app is declared, whole and at once. From now on these pools are its current
// ones; every earlier pool of the app is retired: it takes no new inputs, finishes what it has
// (waiting inputs too) and gives its containers back as they fall idle. What waits for one that has
// no containers goes to the pool that replaces it.
//
// A pool may be declared beside the one that it replaces, before any input comes to it: while there
// is no room for both, the other one gives up containers until it has half of its min_containers.
struct AppDeployed {
  AppId app;
  std::vector<PoolSpec> pools;
  WorkspaceId workspace = kDefaultWorkspace;  // that owns the app; never another
};

// One more pool of the newest version: of a function with other parameters or options. From now on
// it is as those that were declared with the version. Of an app that is not deployed: ignored.
struct PoolAdded {
  AppId app;
  PoolSpec pool;
};

// What the pool is scaled by from now on; its containers take as many inputs each as before.
// Unknown pools and those of earlier versions are ignored.
struct ScalingChanged {
  PoolId pool;
  Scaling scaling;
};

// The app is gone: waiting inputs fail as cancelled, running ones are cancelled, containers stop.
struct AppStopped {
  AppId app;
};

// --- work -------------------------------------------------------------------------------------

// Who wants it: while the engine drains, what runs may still call on others to come to its end.
enum class Origin : std::uint8_t { outside, running_input };

// Whether limits have been asked already, and its place promised: then it is never refused for
// them.
enum class Admission : std::uint8_t { to_be_asked, granted };

struct InputArrived {
  InputId input;
  CallId call;
  PoolId pool;  // the current pool of the function at arrival; never retired in the same batch
  KeyId caller = {};  // waiting inputs are served fairly between callers; zero: none that has a key
  Origin origin = Origin::outside;
  Admission admission = Admission::to_be_asked;
  Time expires = Time::never();  // fails if its first attempt has not begun by then
  Priority priority = {};        // among those that wait for its pool
  InputId parent = {};           // that runs, and waits for it; zero: none
};

// A running input waits for the end of another one from now on, as if it had come with it as its
// parent. Ignored where either is not known, or has ended, or the other has a parent already.
struct InputAwaited {
  InputId input;
  InputId parent;
};

// The caller withdrew the input or went away. Unknown and finished inputs are ignored.
struct InputCancelled {
  InputId input;
};

enum class InputOutcome : std::uint8_t {
  succeeded,
  failed,   // the function's own doing; run again if its settings say so
  refused,  // the runner could not give it to the function: again would be no better
  cancelled
};

// A runner reported the end of an attempt. Stale attempts and wrong containers are ignored.
struct InputFinished {
  InputId input;
  Attempt attempt = 0;
  ContainerId container;
  InputOutcome outcome = InputOutcome::succeeded;
};

// Something of this attempt's has been handed out, so that its input must not run again: if its
// container is lost, it fails. Stale attempts and wrong containers are ignored.
struct InputPinned {
  InputId input;
  Attempt attempt = 0;
  ContainerId container;
};

// --- containers -------------------------------------------------------------------------------
// Order per container: refused | started, ready?, exited. Nodes may repeat, delay and reorder;
// what does not fit the container's state is ignored.

// The node confirms: the container holds its resources since `at`. Billing starts here.
struct ContainerStarted {
  ContainerId container;
  Time at;
};

// The runner has connected and is loading the user's module: boot ends, load begins.
struct ContainerLoading {
  ContainerId container;
};

// The runner has loaded the user's module and takes inputs.
struct ContainerReady {
  ContainerId container;
};

enum class Refusal : std::uint8_t {
  may_pass,  // another node may take it, or this one later
  lasting,   // what it needs is gone; waiting makes it no better
};

// The node would not start it and holds nothing for it. The placement is undone.
struct ContainerRefused {
  ContainerId container;
  Refusal refusal = Refusal::may_pass;
};

enum class ExitCause : std::uint8_t {
  stopped,         // we asked for it
  crashed,         // the process ended by itself or by a signal we did not send
  out_of_memory,   // the kernel ended it for its memory limit
  over_gpu_share,  // its node ended it: it held more of a device's memory than its share
  load_failed,     // the user's module could not be loaded; the runner said so before it ended
  node_lost,       // made by the engine itself when a node is lost
};

// The node, which is the witness, says that the container gave its resources back at `at`.
struct ContainerExited {
  ContainerId container;
  Time at;
  ExitCause cause = ExitCause::stopped;
  std::int64_t egress_bytes = 0;    // that left it in all its life, as far as anybody saw
  std::int64_t gpu_used_bytes = 0;  // of one that was over its share
};

// What has left the container's network namespace in its life so far, as the node counts it. A
// total that is no greater than one before says nothing new.
struct EgressReported {
  ContainerId container;
  std::int64_t total_bytes = 0;
};

// After a restart of the driver: a container that survived it. Its usage goes on at billed_until,
// and its egress after the bytes billed, so that nothing is missing and nothing doubled. What it
// runs from before is not ours to answer; it is busy until ContainerReady says it takes inputs
// again.
struct ContainerAdopted {
  ContainerId container;
  PoolId pool;
  NodeId node;
  std::vector<DeviceId> devices;
  Time started;
  Time billed_until;
  std::int64_t egress_billed_bytes = 0;
  Time ended = {};  // of one whose exit comes next: nothing is metered beyond; zero while it lives
};

// An operator wants it to end: once it has finished what it runs, or now, and then its inputs run
// again elsewhere, without using an attempt up. What needs one gets another.
enum class StopWanted : std::uint8_t { when_empty, now };
struct ContainerUnwanted {
  ContainerId container;
  StopWanted wanted = StopWanted::when_empty;
};

// --- nodes ------------------------------------------------------------------------------------

// A node comes, or a known one tells anew what it has: a device that others use now, or that is
// cordoned. What holds a cordoned device is killed, and its inputs run again elsewhere.
struct NodeJoined {
  NodeId node;
  NodeCapacity capacity;
};

// The node's lease ran out. Its containers count as ended now, their inputs go back to the queue
// without using an attempt up.
struct NodeLost {
  NodeId node;
};

// --- leases of devices to people --------------------------------------------------------------

// What is to become of it where no device is free: the first that is wanted goes to it, before any
// container.
enum class IfNoneFree : std::uint8_t { refuse, wait };

// Answered by GrantLease or RefuseLease.
struct LeaseAsked {
  LeaseId lease;
  GpuDemand gpu;  // whole devices
  Duration length;
  IfNoneFree if_none_free = IfNoneFree::refuse;
};

// Given back before its time, or not waited for any more.
struct LeaseEnded {
  LeaseId lease;
};

// After a restart of the driver: one that has not ended. Its usage goes on at billed_until. Before
// its node joins.
struct LeaseRestored {
  LeaseId lease;
  NodeId node;
  std::vector<DeviceId> devices;
  std::string gpu_type;
  Time from, until;
  Time billed_until;
};

// --- the driver itself ------------------------------------------------------------------------

// All that survived from an earlier driver has been adopted, as far as its nodes are here. Only
// after Begin::recovering; ignored else.
struct RecoveryEnded {};

// No new containers but for inputs already accepted; every container stops as it falls idle.
struct DrainStarted {};

// next_deadline() has come.
struct TimerDue {};

using Event =
    std::variant<AppDeployed, PoolAdded, AppStopped, InputArrived, InputCancelled, InputFinished,
                 ContainerStarted, ContainerLoading, ContainerReady, ContainerRefused,
                 ContainerExited, EgressReported, ContainerAdopted, ContainerUnwanted, NodeJoined,
                 NodeLost, LeaseAsked, LeaseEnded, LeaseRestored, RecoveryEnded, DrainStarted,
                 TimerDue, InputPinned, ScalingChanged, InputAwaited>;

}  // namespace ember
