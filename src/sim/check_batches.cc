// Inputs of batched functions run in batches: none larger than it may be, whole on one container, a
// full one at once, and none held back beyond its wait while a slot is free for it; and a batch is
// interrupted only when nobody waits for any of it.
#include "sim/checker.h"

namespace ember {
namespace {

constexpr Duration kTimerSlack = Duration::milliseconds(100);
constexpr std::uint64_t kStepsBetween = 16;

class CheckBatches : public Checker {
 public:
  void on_event(const Step&) override { left_ = 0; }

  void on_action(const Step& step, const Action& action) override {
    if (const auto* dispatch = std::get_if<DispatchInput>(&action)) on_dispatch(step, *dispatch);
    if (const auto* cancel = std::get_if<CancelInput>(&action)) on_cancel(step, *cancel);
  }

  void after_step(const Step& step, const Engine& engine) override {
    if (left_ > 0) step.findings.add("batches are whole", place_.first.text());
    if (++steps_ % kStepsBetween != 0) return;
    for (const ContainerView& view : engine.containers()) {
      const ContainerFact* fact = step.facts.container(view.container);
      if (!fact || view.yielding || !fact->ready || !fact->confirmed || fact->stopping) continue;
      const PoolFact& pool = *step.facts.pool(fact->pool);
      const FunctionSettings& settings = pool.spec.settings;
      const bool has_room = fact->slots_taken() < settings.scaling.max_inputs;
      if (settings.batching.is_on() && has_room) check_waiting(step, pool);
    }
  }

 private:
  void on_dispatch(const Step& step, const DispatchInput& dispatch) {
    const InputFact* input = step.facts.input(dispatch.input);
    if (!input) return;  // another checker's finding
    const Batching& batching = step.facts.pool(input->pool)->spec.settings.batching;
    const BatchPlace& place = dispatch.batch;
    if (place.size > batching.max_batch_size || batching.is_on() != (place.size > 0)) {
      step.findings.add("no batch is larger than it may be", dispatch.input.text());
    }
    if (!batching.is_on()) return;
    if (place.first == dispatch.input) {
      if (left_ > 0) step.findings.add("batches are whole", place_.first.text());
      place_ = place;
      container_ = dispatch.container;
      left_ = place.size;
    }
    const bool follows = left_ > 0 && place == place_ && dispatch.container == container_;
    if (!follows) step.findings.add("batches are whole", dispatch.input.text());
    if (left_ > 0) --left_;
  }

  static void on_cancel(const Step& step, const CancelInput& cancel) {
    const ContainerFact* container = step.facts.container(cancel.container);
    if (!container) return;  // another checker's finding
    for (const auto& [input, slot] : container->slots) {
      const bool meant = slot.batch.first == cancel.input && slot.batch.attempt == cancel.attempt;
      if (!meant || slot.ending) continue;
      step.findings.add("no batch is interrupted while somebody waits for it", input.text());
    }
  }

  static void check_waiting(const Step& step, const PoolFact& pool) {
    const Batching& batching = pool.spec.settings.batching;
    if (pool.waiting.size() >= batching.max_batch_size) {
      step.findings.add("a full batch goes at once", pool.spec.pool.text());
    }
    for (const auto& [order, id] : pool.waiting) {
      const InputFact& input = *step.facts.input(id);
      if (step.now <= input.arrived + batching.wait + kTimerSlack) continue;
      // One that comes back has a wait of its own.
      if (input.attempt > 0) continue;
      step.findings.add("no batch is held back beyond its wait", id.text());
    }
  }

  BatchPlace place_;  // that is being dispatched
  ContainerId container_;
  std::uint32_t left_ = 0;
  std::uint64_t steps_ = 0;
};

}  // namespace

std::unique_ptr<Checker> check_batches() { return std::make_unique<CheckBatches>(); }

}  // namespace ember
