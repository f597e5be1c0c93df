// Drives the engine in simulated time as control/ drives it live: feeds it events, performs its
// actions on the simulated nodes, keeps usage in the store model, and after a crash builds another
// engine from what is on disk and what the nodes still have.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "sim/agenda.h"
#include "sim/catalog.h"
#include "sim/checker.h"
#include "sim/faults.h"
#include "sim/findings.h"
#include "sim/later.h"
#include "sim/link.h"
#include "sim/sim_node.h"
#include "sim/store_model.h"
#include "sim/task.h"

namespace ember {

struct DriverCounts {
  std::uint64_t events = 0, actions = 0;
  std::uint64_t arrived = 0;
  std::uint64_t answered = 0, failed = 0;
  std::uint64_t containers = 0, adopted = 0;
  std::uint64_t restarts = 0;
  std::uint64_t deadlocks = 0;  // inputs failed for one
  std::uint64_t jobs = 0;       // calls for later that were accepted, those of ticks too
};

// What the driver works with; all borrowed.
struct DriverWorld {
  Agenda<Task>& agenda;
  Faults& faults;
  Random& random;
  Link& link;
  const Catalog& catalog;
  Findings& findings;
  const Witness& witness;
  std::map<NodeId, SimNode>& nodes;
};

class Driver {
 public:
  using Trace = std::function<void(Time, const std::string&)>;

  struct Settings {
    Duration usage_window;
    std::uint32_t workspace_queue_limit = 0;
    std::vector<SimSchedule> schedules = {};
    Checks checks = Checks::on;
  };

  Driver(DriverWorld world, Settings settings, Trace trace);

  bool up() const { return engine_.has_value(); }
  const Engine& engine() const { return *engine_; }
  const DriverCounts& counts() const { return counts_; }
  // Whether the node is connected, as far as this driver knows.
  bool knows(NodeId node) const { return known_nodes_.contains(node); }
  // Whether every caller has been answered.
  bool is_settled() const { return engine_ && unanswered_ == 0 && later_.is_settled(); }
  Money billed() const { return store_.total(); }
  // A digest of everything that has happened, and of the engine as it is.
  std::uint64_t hash() const;

  void handle(const Event& event);
  void on_message(NodeId node, const NodeMessage& message);
  // An input calls a function, by an input of its own; there is none where the function is gone.
  void on_call(const CallMade& made, std::optional<InputArrived> call);
  // A caller asks for a call for later; whether it is accepted.
  bool on_job(const Job& job) { return later_.ask(job); }
  void on_tick(const TickDue& due) { later_.on_tick(due); }
  void end_ticks() { later_.end_ticks(); }
  void drain();
  void on_timer(const EngineTimer& timer);
  void on_commit(const StoreCommits& commit);

  // A node has connected: it may know containers that this driver does not.
  void on_node_up(NodeId node);
  void on_node_down(NodeId node);

  void crash();
  void start();
  void check_end();

 private:
  void perform(const Action& action);
  void perform_one(const StartContainer& action);
  void perform_one(const StopContainer& action);
  void perform_one(const DispatchInput& action);
  void perform_one(const CancelInput& action);
  void perform_one(const AnswerInput& action);
  void perform_one(const FailInput& action);
  void perform_one(const RetryInput& action) { withdraw_calls_of(action.input); }
  void perform_one(const RecordUsage& action) { batch_.rows.push_back(action.row); }
  void perform_one(const ReleaseContainer& action);
  void perform_one(const GrantLease& action) { batch_.granted.push_back(action); }
  void perform_one(const RefuseLease&) {}
  void perform_one(const ReleaseLease& action) { batch_.released.push_back(action); }

  void end_call(InputId call);
  void withdraw_calls_of(InputId parent);
  void on_exit(NodeId node, const ExitNotice& notice);
  // `ended` is zero while it lives.
  void adopt(NodeId node, const NodeContainerFacts& facts, Time ended = {});
  void write_batch();
  void plan_commit();
  void arm_timer();
  void mix(std::uint64_t word) { hash_ = (hash_ ^ word) * 0x9E3779B97F4A7C15ull + (hash_ >> 29); }
  void note(const Event& event);
  bool checks() const { return !checkers_.empty(); }
  Step step(const Event& event) { return {facts_, event, world_.agenda.now(), world_.findings}; }

  DriverWorld world_;
  Settings settings_;
  Trace trace_;
  std::optional<Engine> engine_;
  std::uint32_t epoch_ = 0;
  std::vector<std::unique_ptr<Checker>> checkers_;
  Facts facts_;  // for the checkers
  StoreModel store_;
  Later later_;
  StoreBatch batch_;
  bool recovering_ = false;
  bool commit_planned_ = false;
  Time armed_ = Time::never();
  std::uint64_t timer_serial_ = 0;
  std::set<NodeId> known_nodes_;           // connected
  std::uint64_t unanswered_ = 0;           // inputs
  std::map<ContainerId, NodeId> node_of_;  // of containers that are not released
  std::map<InputId, CallMade> calls_;      // that inputs wait for, and who does
  std::set<std::pair<InputId, Attempt>> have_called_;
  // Inputs whose batch outlives their caller: what they have called goes on for it.
  std::set<InputId> firsts_;
  std::set<ContainerId> released_;  // by this engine; their end may not be on disk yet
  Actions actions_;
  DriverCounts counts_;
  std::uint64_t hash_ = 0;
};

}  // namespace ember
