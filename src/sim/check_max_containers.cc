// max_containers holds over all versions of a function together.
#include "sim/checker.h"

namespace ember {
namespace {

class CheckMaxContainers : public Checker {
 public:
  void on_action(const Step& step, const Action& action) override {
    const auto* start = std::get_if<StartContainer>(&action);
    const PoolFact* pool = start ? step.facts.pool(start->pool) : nullptr;
    if (!pool) return;
    const FunctionId function = pool->spec.function;
    const std::uint32_t held = step.facts.containers_of(function);
    const std::uint32_t most = step.facts.max_containers(function);
    if (held < most) return;
    step.findings.add("max_containers holds over versions",
                      start->container.text() + " is one more than the " + std::to_string(held) +
                          " of " + function.text() + ", whose maximum is " + std::to_string(most));
  }
};

}  // namespace

std::unique_ptr<Checker> check_max_containers() { return std::make_unique<CheckMaxContainers>(); }

}  // namespace ember
