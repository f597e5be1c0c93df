// When all is healed and nothing more comes: every caller has been answered, queues are empty, each
// function is back at its minimum, and no node runs a container that the engine does not know.
#include "sim/checker.h"

namespace ember {
namespace {

class CheckQuiet : public Checker {
 public:
  void at_end(const EndOfRun& end) override {
    for (const auto& [id, input] : end.facts.inputs()) {
      end.findings.add("every caller is answered", id.text());
    }
    check_pools(end);
    check_containers(end);
  }

 private:
  static void check_pools(const EndOfRun& end) {
    for (const PoolView& view : end.engine.pools()) {
      const PoolFact* fact = end.facts.pool(view.pool);
      const std::uint32_t ready = view.idle + view.busy;
      if (!fact || fact->end != PoolEnd::none || view.waiting + view.running + view.delayed > 0) {
        end.findings.add("queues are empty and ended pools are gone", view.pool.text());
      } else if (ready != fact->spec.settings.scaling.min_containers || view.starting > 0 ||
                 view.stopping > 0) {
        end.findings.add("functions are back at their minimum",
                         view.pool.text() + " has " + std::to_string(ready) + " ready, " +
                             std::to_string(view.starting) + " starting, " +
                             std::to_string(view.stopping) + " stopping and a minimum of " +
                             std::to_string(fact->spec.settings.scaling.min_containers));
      }
    }
  }

  static void check_containers(const EndOfRun& end) {
    for (const auto& [id, life] : end.witness) {
      if (life.end == LifeEnd::none && !end.facts.container(id)) {
        end.findings.add("no orphan container lives on a node", id.text());
      }
    }
    for (const auto& [id, fact] : end.facts.containers()) {
      const auto life = end.witness.find(id);
      if (life == end.witness.end() || life->second.end != LifeEnd::none) {
        end.findings.add("the engine knows no container that is gone", id.text());
      }
    }
  }
};

}  // namespace

std::unique_ptr<Checker> check_quiet() { return std::make_unique<CheckQuiet>(); }

}  // namespace ember
