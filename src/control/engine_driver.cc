#include "control/engine_driver.h"

#include <algorithm>
#include <chrono>

namespace ember {
namespace {

// The timer runs on another clock than ours; looking again now and then keeps a step of the
// machine's clock from delaying deadlines for long.
constexpr Duration kLongestSleep = Duration::seconds(30);

}  // namespace

EngineDriver::EngineDriver(boost::asio::io_context& loop, Clock& clock, EngineOptions options)
    : clock_(clock), engine_(options), timer_(loop) {}

void EngineDriver::handle(Event event) {
  if (handling_) {
    put_off_.push_back(std::move(event));
    return;
  }
  handling_ = true;
  deliver(event);
  if (!put_off_.empty()) settle();
  handling_ = false;
  arm();
}

void EngineDriver::deliver(const Event& event) {
  engine_.handle(event, clock_.now());
  engine_.take_actions(actions_);
  for (const Action& action : actions_) performer_->perform(action);
}

void EngineDriver::settle() {
  while (!put_off_.empty()) {
    settling_.swap(put_off_);
    for (const Event& event : settling_) deliver(event);
    settling_.clear();
  }
}

void EngineDriver::after(Duration delay, Agenda::Task task) {
  agenda_.at(clock_.now() + delay, std::move(task));
  arm();
}

void EngineDriver::tick() {
  armed_for_ = Time::never();
  agenda_.run_due(clock_.now());
  if (!handling_ && engine_.next_deadline() <= clock_.now()) handle(TimerDue{});
  arm();
}

// Only an earlier deadline moves the timer. One that was put off (each call moves some) lets it
// fire too early once, which costs less than moving it each time.
void EngineDriver::arm() {
  const Time wanted = std::min(engine_.next_deadline(), agenda_.next());
  if (wanted >= armed_for_) return;
  armed_for_ = wanted;
  const Time now = clock_.now();
  const Duration sleep = std::clamp(wanted - now, Duration{0}, kLongestSleep);
  timer_.expires_after(std::chrono::microseconds(sleep.us));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) tick();
  });
}

}  // namespace ember
