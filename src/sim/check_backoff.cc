// A pool whose containers fail to start is left alone for longer and longer between tries.
#include <algorithm>

#include "sim/checker.h"

namespace ember {
namespace {

constexpr Duration kLongest = Duration::seconds(30);

class CheckBackoff : public Checker {
 public:
  void on_restart() override { failed_.clear(); }

  void on_event(const Step& step) override {
    if (const auto* ready = std::get_if<ContainerReady>(&step.event)) {
      const ContainerFact* fact = step.facts.container(ready->container);
      if (fact && fact->confirmed && !fact->stopping) failed_.erase(fact->pool);
    } else if (const auto* started = std::get_if<ContainerStarted>(&step.event)) {
      const ContainerFact* fact = step.facts.container(started->container);
      if (fact && fact->ready && !fact->stopping) failed_.erase(fact->pool);  // told before
    } else if (const auto* exited = std::get_if<ContainerExited>(&step.event)) {
      const ContainerFact* fact = step.facts.container(exited->container);
      if (fact && !fact->ready && !fact->stopping && !fact->adopted) fail(fact->pool, step.now);
    }
  }

  void on_action(const Step& step, const Action& action) override {
    if (const auto* stop = std::get_if<StopContainer>(&action)) {
      const ContainerFact* fact = step.facts.container(stop->container);
      const bool counts = fact && !fact->stopping && !fact->adopted &&
                          stop->reason.code == ReasonCode::startup_timed_out;
      if (counts) fail(fact->pool, step.now);
    } else if (const auto* start = std::get_if<StartContainer>(&action)) {
      const auto found = failed_.find(start->pool);
      if (found == failed_.end() || step.now >= found->second.until) return;
      step.findings.add("failed starts back off", start->container.text() + " after " +
                                                      std::to_string(found->second.in_a_row) +
                                                      " failures in a row");
    }
  }

 private:
  struct Failed {
    std::uint32_t in_a_row = 0;
    Time until;
  };

  void fail(PoolId pool, Time now) {
    Failed& failed = failed_[pool];
    const std::uint32_t doublings = std::min(failed.in_a_row++, 10u);
    const Duration wait = EngineOptions{}.start_backoff * (std::int64_t{1} << doublings);
    failed.until = now + std::min(wait, kLongest);
  }

  std::map<PoolId, Failed> failed_;
};

}  // namespace

std::unique_ptr<Checker> check_backoff() { return std::make_unique<CheckBackoff>(); }

}  // namespace ember
