// What has ended gives back: retired pools start containers for waiting inputs only and let idle
// ones go, stopped apps start none and answer everybody at once.
#include "sim/checker.h"

namespace ember {
namespace {

class CheckEndings : public Checker {
 public:
  void on_action(const Step& step, const Action& action) override {
    const auto* start = std::get_if<StartContainer>(&action);
    const PoolFact* pool = start ? step.facts.pool(start->pool) : nullptr;
    if (!pool) return;
    const bool ending = pool->end == PoolEnd::retired || step.facts.draining();
    if (pool->end == PoolEnd::stopped || (ending && pool->waiting.empty())) {
      step.findings.add("what has ended starts nothing",
                        start->container.text() + " starts for " + start->pool.text());
    }
  }

  void after_step(const Step& step, const Engine&) override {
    const bool may_free = std::holds_alternative<InputFinished>(step.event) ||
                          std::holds_alternative<AppDeployed>(step.event) ||
                          std::holds_alternative<AppStopped>(step.event) ||
                          std::holds_alternative<ContainerReady>(step.event);
    if (!may_free) return;
    for (const auto& [id, fact] : step.facts.containers()) {
      const PoolFact& pool = *step.facts.pool(fact.pool);
      const bool idle = fact.ready && !fact.stopping && fact.slots.empty();
      if (!idle || pool.end == PoolEnd::none || !pool.waiting.empty()) continue;
      step.findings.add("ended pools give their idle containers back", id.text());
    }
    if (std::holds_alternative<AppStopped>(step.event)) check_stopped(step);
  }

 private:
  static void check_stopped(const Step& step) {
    for (const auto& [id, input] : step.facts.inputs()) {
      const PoolFact* pool = step.facts.pool(input.pool);
      if (pool && pool->end == PoolEnd::stopped) {
        step.findings.add("a stopped app answers everybody at once", id.text());
      }
    }
  }
};

}  // namespace

std::unique_ptr<Checker> check_endings() { return std::make_unique<CheckEndings>(); }

}  // namespace ember
