// Callers of a pool take turns: while one waits, no other is served twice between two of its turns.
// Each priority has turns of its own.
#include "sim/checker.h"

namespace ember {
namespace {

class CheckFairness : public Checker {
 public:
  void on_action(const Step& step, const Action& action) override {
    const auto* dispatch = std::get_if<DispatchInput>(&action);
    if (!dispatch) return;
    const InputFact* input = step.facts.input(dispatch->input);
    if (!input) return;  // another checker's finding
    const PoolFact& pool = *step.facts.pool(input->pool);
    const std::uint64_t before = pool.callers.at({input->caller, input->priority}).last_turn;
    if (before == 0) return;
    for (const auto& [place, caller] : pool.callers) {
      const KeyId id = place.caller;
      if (id == input->caller || caller.waiting.empty()) continue;
      if (place.priority != input->priority) continue;
      const bool waited_then = caller.waits_since < before;
      if (!waited_then || caller.last_turn > before) continue;
      step.findings.add("callers take turns",
                        input->caller.text() + " is served again before " + id.text());
    }
  }
};

}  // namespace

std::unique_ptr<Checker> check_fairness() { return std::make_unique<CheckFairness>(); }

}  // namespace ember
