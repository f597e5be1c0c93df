// Drives the engine in real time: stamps events, has the actions performed, wakes it at its
// deadlines. All on the loop's thread.
//
// Performing an action may bring new events about (a waiter that starts its next call, for
// example). Such events wait until the actions before them are done, so the engine is never entered
// twice and actions are performed in the order they were decided.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <vector>

#include "control/agenda.h"
#include "control/clock.h"
#include "engine/engine.h"

namespace ember {

class ActionPerformer {
 public:
  virtual ~ActionPerformer() = default;
  virtual void perform(const Action& action) = 0;
};

class EngineDriver {
 public:
  EngineDriver(boost::asio::io_context& loop, Clock& clock, EngineOptions options);
  EngineDriver(const EngineDriver&) = delete;
  EngineDriver& operator=(const EngineDriver&) = delete;

  void set_performer(ActionPerformer* performer) { performer_ = performer; }

  // Delivers the event and performs what the engine decides, before it returns; or, called from
  // inside perform(), once the actions at hand are done.
  void handle(Event event);
  // Whether handle() would put the event off.
  bool handling() const { return handling_; }

  void after(Duration delay, Agenda::Task task);
  // Does what is due as of now. The timer calls it; tests with a clock of their own do too.
  void tick();

  Time now() { return clock_.now(); }
  const Engine& engine() const { return engine_; }

 private:
  void deliver(const Event& event);
  void settle();
  void arm();

  Clock& clock_;
  Engine engine_;
  Agenda agenda_;
  ActionPerformer* performer_ = nullptr;
  Actions actions_;             // kept for its memory
  std::vector<Event> put_off_;  // events that came while actions were performed
  std::vector<Event> settling_;
  bool handling_ = false;
  boost::asio::steady_timer timer_;
  Time armed_for_ = Time::never();
};

}  // namespace ember
