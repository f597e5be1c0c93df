// Containers begin once, are stopped only where they are, and every start ends in one release.
#include <algorithm>
#include <set>

#include "sim/checker.h"
#include "sim/overload.h"

namespace ember {
namespace {

class CheckLifecycle : public Checker {
 public:
  void on_action(const Step& step, const Action& action) override {
    std::visit(Overload{
                   [&](const StartContainer& one) {
                     if (!begun_.insert(one.container).second)
                       wrong(step, one.container, "begins twice");
                   },
                   [&](const StopContainer& one) { on_stop(step, one); },
                   [&](const ReleaseContainer& one) {
                     if (!step.facts.container(one.container)) {
                       wrong(step, one.container, "is released and is not there");
                     }
                   },
                   [](const auto&) {},
               },
               action);
  }

  void after_step(const Step& step, const Engine&) override {
    if (const auto* exited = std::get_if<ContainerExited>(&step.event)) {
      if (step.facts.container(exited->container)) {
        wrong(step, exited->container, "has ended and is not released");
      }
    } else if (const auto* lost = std::get_if<NodeLost>(&step.event)) {
      for (const auto& [id, fact] : step.facts.containers()) {
        if (fact.node == lost->node) wrong(step, id, "is lost with its node and not released");
      }
    }
  }

 private:
  static void on_stop(const Step& step, const StopContainer& stop) {
    const ContainerFact* fact = step.facts.container(stop.container);
    if (!fact || fact->node != stop.node) {
      wrong(step, stop.container, "is stopped and is not there");
    } else if (stop.mode == StopMode::graceful && !fact->slots.empty()) {
      wrong(step, stop.container, "is stopped in peace while it runs inputs");
    }
  }

  static void wrong(const Step& step, ContainerId id, const char* what) {
    step.findings.add("every start ends in one release", id.text() + " " + what);
  }

  std::set<ContainerId> begun_;
};

}  // namespace

std::unique_ptr<Checker> check_lifecycle() { return std::make_unique<CheckLifecycle>(); }

}  // namespace ember
