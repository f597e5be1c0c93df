// No execution goes on beyond its timeout, no start beyond its own, and what is deaf to a
// cancellation is killed. Timers may come late by a little.
#include "sim/checker.h"

namespace ember {
namespace {

constexpr Duration kTimerSlack = Duration::milliseconds(100);
constexpr std::uint64_t kStepsBetween = 16;

class CheckTimeouts : public Checker {
 public:
  void after_step(const Step& step, const Engine&) override {
    if (++steps_ % kStepsBetween != 0) return;
    for (const auto& [id, input] : step.facts.inputs()) {
      if (!input.container || input.due != Time{}) continue;
      const Duration timeout = step.facts.pool(input.pool)->spec.settings.timeout;
      if (step.now <= input.dispatched + timeout + kTimerSlack) continue;
      step.findings.add("no execution outlasts its timeout", id.text());
    }
    for (const auto& [id, fact] : step.facts.containers()) check_container(step, id, fact);
  }

 private:
  static void check_container(const Step& step, ContainerId id, const ContainerFact& fact) {
    if (fact.stopping) return;
    const Duration startup = step.facts.pool(fact.pool)->spec.settings.startup_timeout;
    if (!fact.ready && !fact.adopted && step.now > fact.placed + startup + kTimerSlack) {
      step.findings.add("no start outlasts its timeout", id.text());
    }
    const Duration grace = EngineOptions{}.cancel_grace;
    for (const auto& [input, slot] : fact.slots) {
      if (!slot.ending || step.now <= slot.ending_since + grace + kTimerSlack) continue;
      if (slot.batch.first && fact.runs(slot.batch)) continue;  // and holds no slot of its own
      step.findings.add("what is deaf to a cancellation is killed",
                        input.text() + " on " + id.text());
    }
  }

  std::uint64_t steps_ = 0;
};

}  // namespace

std::unique_ptr<Checker> check_timeouts() { return std::make_unique<CheckTimeouts>(); }

}  // namespace ember
