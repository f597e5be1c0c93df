// Inputs go to ready containers of their own pool, the highest priority first and then each
// caller's first come, first served, each attempt numbered; never again once a part of the result
// has been handed out.
#include <algorithm>

#include "sim/checker.h"

namespace ember {
namespace {

constexpr Duration kTimerSlack = Duration::milliseconds(100);

class CheckDispatch : public Checker {
 public:
  void on_action(const Step& step, const Action& action) override {
    if (const auto* dispatch = std::get_if<DispatchInput>(&action)) on_dispatch(step, *dispatch);
    if (const auto* cancel = std::get_if<CancelInput>(&action)) on_cancel(step, *cancel);
  }

 private:
  static void on_dispatch(const Step& step, const DispatchInput& dispatch) {
    const InputFact* input = step.facts.input(dispatch.input);
    const ContainerFact* container = step.facts.container(dispatch.container);
    const std::string what = dispatch.input.text() + " to " + dispatch.container.text();
    if (!input || input->container || input->due != Time{}) {
      step.findings.add("only waiting inputs are dispatched", what);
      return;
    }
    if (!container || !container->ready || container->stopping) {
      step.findings.add("inputs go to ready containers only", what);
      return;
    }
    if (input->pinned) {
      step.findings.add("what was handed out in part never runs again", what);
    }
    const PoolFact& pool = *step.facts.pool(input->pool);
    if (container->pool != input->pool || pool.end == PoolEnd::stopped) {
      step.findings.add("retired pools get no new inputs, and pools keep their own", what);
    }
    if (input->attempt == 0 && input->expires < step.now - kTimerSlack) {
      step.findings.add("nothing starts after it has expired", what);
    }
    if (dispatch.attempt != input->attempt + 1) {
      step.findings.add("attempts are numbered without a gap", what);
    }
    if (!pool.waiting.empty() && pool.waiting.begin()->first.priority > input->priority) {
      step.findings.add("higher priorities go first", what);
    }
    const auto& line = pool.callers.at({input->caller, input->priority}).waiting;
    if (line.empty() || line.begin()->second != dispatch.input) {
      step.findings.add("each caller's first come, first served", what);
    }
  }

  static void on_cancel(const Step& step, const CancelInput& cancel) {
    const ContainerFact* container = step.facts.container(cancel.container);
    if (container && holds(*container, cancel)) return;
    step.findings.add("only what runs is cancelled", cancel.input.text());
  }

  // Itself, or any of the batch that it is the first of.
  static bool holds(const ContainerFact& container, const CancelInput& cancel) {
    return std::ranges::any_of(container.slots, [&](const auto& one) {
      const auto& [input, slot] = one;
      return slot.batch.first
                 ? slot.batch.first == cancel.input && slot.batch.attempt == cancel.attempt
                 : input == cancel.input && slot.attempt == cancel.attempt;
    });
  }
};

}  // namespace

std::unique_ptr<Checker> check_dispatch() { return std::make_unique<CheckDispatch>(); }

}  // namespace ember
