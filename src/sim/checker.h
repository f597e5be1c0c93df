// What a checker of one invariant looks like. It sees every event and every action in order, with
// the facts as they were just before, and the engine after each step.
#pragma once

#include <memory>
#include <vector>

#include "engine/engine.h"
#include "sim/facts.h"
#include "sim/findings.h"
#include "sim/later.h"
#include "sim/store_model.h"
#include "sim/witness.h"

namespace ember {

// One call of Engine::handle and what came of it.
struct Step {
  const Facts& facts;
  const Event& event;
  Time now;
  Findings& findings;
};

struct EndOfRun {
  const Facts& facts;
  const Engine& engine;
  const StoreModel& store;
  const Later& later;
  const Witness& witness;
  Findings& findings;
};

class Checker {
 public:
  virtual ~Checker() = default;
  virtual void on_event(const Step&) {}                   // the facts do not know it yet
  virtual void on_action(const Step&, const Action&) {}   // the facts do not know it yet
  virtual void after_step(const Step&, const Engine&) {}  // the facts know all of it
  virtual void on_restart() {}                            // another engine from now on
  virtual void at_end(const EndOfRun&) {}
};

// Each of them in its own file, check_*.cc.
std::unique_ptr<Checker> check_devices();
std::unique_ptr<Checker> check_slots();
std::unique_ptr<Checker> check_answers();
std::unique_ptr<Checker> check_dispatch();
std::unique_ptr<Checker> check_fairness();
std::unique_ptr<Checker> check_batches();
std::unique_ptr<Checker> check_admission(std::uint32_t workspace_queue_limit);
std::unique_ptr<Checker> check_max_containers();
std::unique_ptr<Checker> check_usage();
std::unique_ptr<Checker> check_egress();
std::unique_ptr<Checker> check_shares();
std::unique_ptr<Checker> check_ledger();
std::unique_ptr<Checker> check_lifecycle();
std::unique_ptr<Checker> check_endings();
std::unique_ptr<Checker> check_timeouts();
std::unique_ptr<Checker> check_backoff();
std::unique_ptr<Checker> check_progress();
std::unique_ptr<Checker> check_views();
std::unique_ptr<Checker> check_quiet();
std::unique_ptr<Checker> check_leases();
std::unique_ptr<Checker> check_deadlocks();
std::unique_ptr<Checker> check_later();

std::vector<std::unique_ptr<Checker>> all_checkers(std::uint32_t workspace_queue_limit);

}  // namespace ember
