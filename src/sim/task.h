// Everything that can be due in a simulated run, and the messages between driver and nodes.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "engine/action.h"
#include "engine/event.h"
#include "model/ids.h"

namespace ember {

// The ids of inputs of calls for later begin here: they keep theirs over restarts of the driver.
inline constexpr std::uint64_t kFirstJob = 1ull << 32;

// --- from the driver to a node and the runners on it ---------------------------------------------

struct AcknowledgeExit {
  ContainerId container;
};
// To the runner of an input: the call that it waits for has ended.
struct CallEnded {
  ContainerId container;
  InputId input;
  Attempt attempt = 0;
};
using NodeCommand = std::variant<StartContainer, StopContainer, DispatchInput, CancelInput,
                                 AcknowledgeExit, CallEnded>;

// --- from a node and its runners to the driver ---------------------------------------------------

// What the node knows of a container of its own, kept by it over restarts of the driver.
struct NodeContainerFacts {
  ContainerId container;
  PoolId pool;
  std::vector<DeviceId> devices;
  Time started;
  std::int64_t egress_bytes = 0;
};
struct ExitNotice {
  NodeContainerFacts facts;
  Time at;
  ExitCause cause = ExitCause::stopped;
};
// Of a runner: an input calls another function, and waits for that.
struct CallMade {
  ContainerId container;
  InputId input;
  Attempt attempt = 0;
};
using NodeMessage =
    std::variant<ContainerStarted, ContainerLoading, ContainerReady, ContainerRefused,
                 EgressReported, InputFinished, InputPinned, ExitNotice, CallMade>;

// --- what is due ---------------------------------------------------------------------------------

// A connection between driver and node: what was under way when it broke never arrives.
using Session = std::uint64_t;

struct CommandArrives {
  NodeId node;
  Session session = 0;
  NodeCommand command;
};
struct MessageArrives {
  NodeId node;
  Session session = 0;
  NodeMessage message;
};

// On a node.
enum class StartStep : std::uint8_t { runner_connects, module_loads, load_fails, crashes };
struct StartStepDue {
  NodeId node;
  ContainerId container;
  StartStep step = StartStep::runner_connects;
};
enum class ExecutionEnd : std::uint8_t {
  result,
  user_failure,
  cancelled,
  crash,
  out_of_memory,
  over_gpu_share
};
struct ExecutionDue {
  NodeId node;
  ContainerId container;
  InputId input;
  Attempt attempt = 0;
  ExecutionEnd end = ExecutionEnd::result;
};
// It hands a first part of its result out.
struct FirstItemDue {
  NodeId node;
  ContainerId container;
  InputId input;
  Attempt attempt = 0;
};
// It calls another function; once that has ended it takes as long again.
struct CallDue {
  NodeId node;
  ContainerId container;
  InputId input;
  Attempt attempt = 0;
  Duration rest;
  ExecutionEnd end = ExecutionEnd::result;
};
struct ExitDue {
  NodeId node;
  ContainerId container;
};

// Around the nodes.
struct NodeHeals {
  NodeId node;
};
struct NodeFencesItself {  // its lease has run out: it ends its containers
  NodeId node;
  std::uint64_t outage = 0;
};
struct LeaseRunsOut {  // the driver gives the node up
  NodeId node;
  std::uint64_t outage = 0;
};

// The driver.
struct EngineTimer {
  std::uint64_t serial = 0;
};
struct StoreCommits {
  std::uint32_t epoch = 0;
};
struct DriverStarts {};

// The load.
struct FunctionCalled {
  FunctionId function;
};
struct CallerLeaves {
  InputId input;
};
struct JobAsked {  // of the driver, for a call for later: again and again until it is accepted
  std::uint64_t key = 0;
};
struct TickDue {
  std::uint64_t serial = 0;
};
struct LeaseGivenBack {
  LeaseId lease;
};
struct RolloutEnds {
  AppId app;
};
struct SecondPasses {};  // chance for deploys, stops, drains, outages and crashes

using Task = std::variant<CommandArrives, MessageArrives, StartStepDue, ExecutionDue, FirstItemDue,
                          CallDue, ExitDue, NodeHeals, NodeFencesItself, LeaseRunsOut, EngineTimer,
                          StoreCommits, DriverStarts, FunctionCalled, CallerLeaves, JobAsked,
                          TickDue, LeaseGivenBack, RolloutEnds, SecondPasses>;

}  // namespace ember
