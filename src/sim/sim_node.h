// One simulated node and the runners on it. It models what a node does with what it is told; it
// never decides where or when anything should run. It is the authority on its devices: it checks
// that no two of its containers are given one device, and that it is not promised twice over.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "sim/agenda.h"
#include "sim/catalog.h"
#include "sim/faults.h"
#include "sim/findings.h"
#include "sim/link.h"
#include "sim/task.h"
#include "sim/witness.h"

namespace ember {

// What the nodes of a run share; all borrowed.
struct NodeWorld {
  Agenda<Task>& agenda;
  Faults& faults;
  Random& random;
  Link& link;
  const Catalog& catalog;
  Findings& findings;
  Witness& witness;
  Random& calls;           // that inputs make of functions
  std::uint32_t& calling;  // per mille of executions: user code makes one and waits for it
};

class SimNode {
 public:
  SimNode(NodeId id, NodeCapacity capacity, NodeWorld world)
      : id_(id), capacity_(std::move(capacity)), world_(world) {}

  const NodeCapacity& capacity() const { return capacity_; }
  // One of its devices falls sick, is used by others, or is well again. Whether it has any.
  bool change_a_device();
  void mend_devices();

  void on(const StartContainer& command);
  void on(const StopContainer& command);
  void on(const DispatchInput& command);
  void on(const CancelInput& command);
  void on(const AcknowledgeExit& command) { exits_.erase(command.container); }
  void on(const CallEnded& command);

  void on(const StartStepDue& due);
  void on(const ExecutionDue& due);
  void on(const FirstItemDue& due);
  void on(const CallDue& due);
  void on(const ExitDue& due);

  // Its lease has run out: it ends its containers, because others may get their work now.
  void fence();
  // It loses power: containers, exits not acknowledged and its memory of both are gone.
  void reboot();

  // A driver has connected: what it is told first. Runners then say how far they are.
  std::vector<NodeContainerFacts> survivors() const;
  std::vector<ExitNotice> unacknowledged() const;
  void greet_driver();

  std::size_t live() const { return containers_.size(); }

 private:
  enum class Stage : std::uint8_t { booting, loading, ready, exiting };
  // It runs once all of it has come.
  struct Batch {
    std::uint32_t size = 0;
    bool cancelled = false;  // before that
    std::vector<std::pair<InputId, Attempt>> inputs;
  };
  struct Container {
    NodeContainerFacts facts;
    Stage stage = Stage::booting;
    std::map<InputId, Attempt> inputs;                     // under way
    std::set<std::pair<InputId, Attempt>> received;        // of them a second copy is nothing new
    std::map<std::pair<InputId, Attempt>, Batch> batches;  // of a batched function, by their first
    std::map<InputId, CallDue> awaiting;                   // of inputs: the calls they wait for
    std::set<InputId> stale;  // of an earlier driver: they go on, and nobody hears of them
    bool owes_ready = false;  // to a driver that adopted it busy
  };

  void check_promises(const StartContainer& command);
  void begin(const StartContainer& command);
  void plan_start(ContainerId container, const Behaviour& behaviour);
  void plan_first_item(const Container& container, const DispatchInput& input);
  void plan_execution(Container& container, const DispatchInput& input);
  void plan_cancellation(const CancelInput& command);
  void join_batch(Container& container, const DispatchInput& input);
  void forget_begun_batches(Container& container);
  void finish_batch(Container& container, const ExecutionDue& due);
  void finish(Container& container, const ExecutionDue& due);
  void go_on(Container& container, InputId input);
  // The container sends something out; sometimes the node tells of it at once.
  void transmit(Container& container);
  void end(ContainerId container, ExitCause cause);
  Container* find(ContainerId id);
  // Null where the attempt is not under way there.
  Container* find_running(ContainerId container, InputId input, Attempt attempt);

  NodeId id_;
  NodeCapacity capacity_;
  NodeWorld world_;
  std::map<ContainerId, Container> containers_;  // live ones
  std::map<ContainerId, ExitNotice> exits_;      // until acknowledged
  std::set<ContainerId> over_;                   // refused, ended or stopped before they began
};

}  // namespace ember
