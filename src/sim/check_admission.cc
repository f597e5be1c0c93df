// Queues are bounded, and exactly so: an arrival is refused for a full queue just if its pool or
// its workspace is at its limit and the caller has its equal share of that. One whose place was
// promised is refused for no limit.
#include <algorithm>

#include "sim/checker.h"

namespace ember {
namespace {

class CheckAdmission : public Checker {
 public:
  explicit CheckAdmission(std::uint32_t workspace_limit) : workspace_limit_(workspace_limit) {}

  void on_event(const Step& step) override {
    refused_ = dispatched_ = false;
    const auto* arrival = std::get_if<InputArrived>(&step.event);
    const PoolFact* pool = arrival ? step.facts.pool(arrival->pool) : nullptr;
    known_ = pool != nullptr;
    if (!known_) return;
    pool_full_ = workspace_full_ = false;
    if (arrival->admission == Admission::granted) return;
    pool_full_ =
        is_full(waiting_in(*pool), pool->spec.settings.scaling.queue_limit, arrival->caller);
    workspace_full_ =
        is_full(step.facts.waiting_in(pool->workspace), workspace_limit_, arrival->caller);
  }

  void on_action(const Step& step, const Action& action) override {
    const auto* arrival = std::get_if<InputArrived>(&step.event);
    if (!arrival || !known_) return;
    if (const auto* failure = std::get_if<FailInput>(&action)) {
      if (failure->input == arrival->input) on_refusal(step, *failure);
    }
    const auto* dispatch = std::get_if<DispatchInput>(&action);
    if (dispatch && dispatch->input == arrival->input) dispatched_ = true;
  }

  void after_step(const Step& step, const Engine&) override {
    const auto* arrival = std::get_if<InputArrived>(&step.event);
    if (!arrival || !known_ || refused_ || dispatched_) return;
    if (pool_full_) step.findings.add("a full queue takes no more", arrival->input.text());
    if (workspace_full_) step.findings.add("a full workspace takes no more", arrival->input.text());
  }

 private:
  static bool is_full(const WaitingByCaller& waiting, std::uint64_t limit, KeyId caller) {
    std::uint64_t all = 0, others = 0;
    for (const auto& [id, count] : waiting) {
      all += count;
      others += id != caller;
    }
    const auto own = waiting.find(caller);
    return all >= limit && (own == waiting.end() ? 0 : own->second) >= limit / (others + 1);
  }

  void on_refusal(const Step& step, const FailInput& failure) {
    refused_ = true;
    const bool for_pool = failure.reason.code == ReasonCode::queue_full;
    const bool for_workspace = failure.reason.code == ReasonCode::workspace_full;
    if ((for_pool && !pool_full_) || (for_workspace && !workspace_full_)) {
      step.findings.add("nobody is refused below the limit", failure.input.text());
    }
    if ((for_pool || for_workspace) && failure.retry_after < Duration::seconds(1)) {
      step.findings.add("who is refused is told when to come back", failure.input.text());
    }
  }

  const std::uint32_t workspace_limit_;
  bool known_ = false, pool_full_ = false, workspace_full_ = false;
  bool refused_ = false, dispatched_ = false;
};

}  // namespace

std::unique_ptr<Checker> check_admission(std::uint32_t workspace_limit) {
  return std::make_unique<CheckAdmission>(workspace_limit);
}

}  // namespace ember
