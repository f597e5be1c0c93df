// No hot loop: a timer that has been served asks for a later one, and what is done in a second of
// simulated time is bounded.
#include "sim/checker.h"

namespace ember {
namespace {

constexpr std::uint32_t kMostTimers = 500;  // a second
constexpr std::uint32_t kMostStarts = 100;

class CheckProgress : public Checker {
 public:
  void on_event(const Step& step) override {
    if (step.now >= second_ + Duration::seconds(1)) {
      second_ = step.now;
      timers_ = starts_ = 0;
    }
    if (std::holds_alternative<TimerDue>(step.event) && ++timers_ > kMostTimers) {
      step.findings.add("no hot loop", std::to_string(timers_) + " timers in a second");
    }
  }

  void on_action(const Step& step, const Action& action) override {
    if (std::holds_alternative<StartContainer>(action) && ++starts_ > kMostStarts) {
      step.findings.add("no hot loop", std::to_string(starts_) + " starts in a second");
    }
  }

  void after_step(const Step& step, const Engine& engine) override {
    const bool served = std::holds_alternative<TimerDue>(step.event);
    if (served && engine.next_deadline() <= step.now) {
      step.findings.add("a timer that was served asks for a later one",
                        std::to_string(engine.next_deadline().us) + " us");
    }
  }

 private:
  Time second_;
  std::uint32_t timers_ = 0, starts_ = 0;
};

}  // namespace

std::unique_ptr<Checker> check_progress() { return std::make_unique<CheckProgress>(); }

}  // namespace ember
