// No container runs more than max_inputs, or as many batches; those that have been answered but not
// let go count too.
#include "sim/checker.h"

namespace ember {
namespace {

class CheckSlots : public Checker {
 public:
  void on_action(const Step& step, const Action& action) override {
    const auto* dispatch = std::get_if<DispatchInput>(&action);
    if (!dispatch) return;
    const BatchPlace& batch = dispatch->batch;
    if (batch.first && batch.first != dispatch->input) return;  // into the first one's slot
    const ContainerFact* container = step.facts.container(dispatch->container);
    if (!container) return;  // check_dispatch says so
    const auto& scaling = step.facts.pool(container->pool)->spec.settings.scaling;
    const std::size_t taken = container->slots_taken();
    if (taken < scaling.max_inputs) return;
    step.findings.add("no container runs more than max_inputs",
                      dispatch->container.text() + " holds " + std::to_string(taken) +
                          " inputs and is given " + dispatch->input.text());
  }
};

}  // namespace

std::unique_ptr<Checker> check_slots() { return std::make_unique<CheckSlots>(); }

}  // namespace ember
