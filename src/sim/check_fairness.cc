// Callers of a pool take turns: while one waits, no other is served twice between two of its turns.
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
    const std::uint64_t before = pool.callers.at(input->caller).last_turn;
    if (before == 0) return;
    for (const auto& [id, caller] : pool.callers) {
      if (id == input->caller || caller.waiting.empty()) continue;
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
