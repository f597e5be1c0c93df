// Calls for later and schedules, as control/ keeps them beside the engine: on disk before they are
// accepted, their ends on disk before anybody is told, and those without an end begun again by the
// next driver. A tick and its call are one write.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "engine/engine.h"
#include "model/schedule.h"
#include "sim/agenda.h"
#include "sim/catalog.h"
#include "sim/store_model.h"
#include "sim/task.h"

namespace ember {

// Of a function that is run by itself.
struct SimSchedule {
  FunctionId function;
  Schedule schedule;
  Time anchor;
  std::uint64_t first_job = 0;  // the key of the call of its first tick; the next one's follows
};

class Later {
 public:
  struct Parts {
    Agenda<Task>& agenda;
    const Catalog& catalog;
    StoreModel& store;
    std::function<void(const Event&)> handle;  // of the driver
    std::function<void()> plan_commit;
  };
  Later(Parts parts, std::vector<SimSchedule> schedules)
      : parts_(std::move(parts)), schedules_(std::move(schedules)) {}

  // A driver begins: what had no end begins again, once its apps are there.
  void begin(const Engine& engine);
  void restore();
  // It dies. Who was not told asks again.
  void crash();

  // A caller asks, or asks again, for the call of a key; whether it is accepted now.
  bool ask(const Job& job);
  void on_commit(const Committed& done);
  // An input has ended; what is to be on disk of that goes into the batch.
  void ended(InputId input, StoreBatch& batch);
  // At a drain what does not run is left to the next driver.
  void leave_waiting();

  void on_tick(const TickDue& due);
  // No more ticks from here on.
  void end_ticks() { ticking_ = false; }

  bool is_settled() const { return writing_.empty(); }
  // Whom a caller has been told of.
  const std::set<std::uint64_t>& told() const { return told_; }
  const std::vector<SimSchedule>& schedules() const { return schedules_; }

 private:
  struct Writing {
    PoolId pool;
    FunctionId tick_of;  // zero: a caller asked
  };
  bool write(const Job& job, FunctionId tick_of, const TickRecord* tick);
  void start(const Job& job);
  void handle_missed(const SimSchedule& schedule);
  void consider(const SimSchedule& schedule);
  void plan_ticks();
  Ticks ticks_of(const SimSchedule& one) const { return {one.schedule, zone_, one.anchor}; }
  TickRecord record_of(const SimSchedule& schedule) const;

  Parts parts_;
  UtcZone zone_;
  const std::vector<SimSchedule> schedules_;
  const Engine* engine_ = nullptr;
  bool draining_ = false;
  bool ticking_ = true;
  std::map<std::uint64_t, Writing> writing_;  // by key
  std::map<PoolId, std::uint32_t> promised_;
  std::map<InputId, std::uint64_t> live_;  // the keys
  std::set<InputId> left_;                 // to the next driver
  std::set<FunctionId> calling_;           // whose tick is being written
  std::set<std::uint64_t> told_;
  std::uint64_t tick_serial_ = 0;
};

}  // namespace ember
