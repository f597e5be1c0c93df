// What the engine shows of itself agrees with what it was told and did; and nobody waits while a
// ready container of the pool has a free slot, unless that one gives way to an older version. Who
// waits for a batch is check_batches' matter.
#include <set>

#include "sim/checker.h"

namespace ember {
namespace {

constexpr std::uint64_t kStepsBetween = 32;

class CheckViews : public Checker {
 public:
  void after_step(const Step& step, const Engine& engine) override {
    if (++steps_ % kStepsBetween != 0) return;
    check_containers(step, engine);
    check_pools(step, engine);
    check_nodes(step, engine);
  }

 private:
  static void wrong(const Step& step, const std::string& what) {
    step.findings.add("the engine's views tell the truth", what);
  }

  static void check_containers(const Step& step, const Engine& engine) {
    const auto views = engine.containers();
    if (views.size() != step.facts.containers().size()) wrong(step, "number of containers");
    for (const ContainerView& view : views) {
      const ContainerFact* fact = step.facts.container(view.container);
      const bool agrees = fact && fact->pool == view.pool && fact->node == view.node &&
                          fact->devices == view.devices && fact->slots.size() == view.inputs &&
                          fact->stopping == (view.state == ContainerState::stopping);
      if (!agrees) wrong(step, view.container.text());
    }
  }

  static void check_pools(const Step& step, const Engine& engine) {
    std::set<PoolId> with_free_slot;
    for (const ContainerView& view : engine.containers()) {
      const ContainerFact* fact = step.facts.container(view.container);
      if (!fact || view.yielding) continue;
      const FunctionSettings& settings = step.facts.pool(fact->pool)->spec.settings;
      const bool takes = fact->ready && fact->confirmed && !fact->stopping;
      if (!takes || settings.batching.is_on()) continue;
      if (fact->slots.size() < settings.scaling.max_inputs) with_free_slot.insert(fact->pool);
    }
    for (const PoolView& view : engine.pools()) {
      const PoolFact* fact = step.facts.pool(view.pool);
      if (!fact || fact->waiting.size() != view.waiting) {
        wrong(step, view.pool.text());
      } else if (view.waiting > 0 && with_free_slot.contains(view.pool)) {
        step.findings.add("nobody waits while a slot is free", view.pool.text());
      } else if (view.waiting > 0 && view.wait_reason.code == ReasonCode::none) {
        step.findings.add("who waits is told why", view.pool.text());
      }
    }
  }

  // Adopted after its devices had gone to another, if it has ended, and so stopped at once.
  static bool is_late(const ContainerFact& fact) { return fact.adopted && fact.stopping; }

  static void check_nodes(const Step& step, const Engine& engine) {
    for (const NodeView& view : engine.nodes()) {
      std::set<std::pair<DeviceId, ContainerId>> held, shown;
      for (const auto& [id, fact] : step.facts.containers()) {
        if (fact.node != view.node || is_late(fact)) continue;
        for (const DeviceId device : fact.devices) held.emplace(device, id);
      }
      for (const DeviceHold& hold : view.holds) {
        const ContainerFact* fact = step.facts.container(hold.container);
        if (!fact || !is_late(*fact)) shown.emplace(hold.device, hold.container);
      }
      if (shown != held) wrong(step, "who holds devices of " + view.node.text());
    }
  }

  std::uint64_t steps_ = 0;
};

}  // namespace

std::unique_ptr<Checker> check_views() { return std::make_unique<CheckViews>(); }

}  // namespace ember
