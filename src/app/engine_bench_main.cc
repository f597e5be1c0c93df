// ember-engine-bench CONTAINERS WAITING EVENTS: what one event costs the engine, for
// bench/engine.py.
//
// Brings up so many busy containers in pools of a hundred at most, with so many inputs waiting
// behind them. Then inputs finish in the order in which they were dispatched, and for each a new
// one arrives, so that all stays as it is. Prints the time an event takes as JSON.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <limits>
#include <string>
#include <vector>

#include "base/assert.h"
#include "engine/engine.h"

namespace {

using namespace ember;

constexpr std::uint32_t kContainersPerPool = 100;
constexpr std::uint64_t kCallers = 8;
constexpr Duration kBetweenEvents{20};  // the clock moves on, so timers fall due too

class Bench {
 public:
  Bench(std::uint32_t containers, std::uint32_t waiting)
      : pools_(std::max(1u, containers / kContainersPerPool)) {
    handle(NodeJoined{NodeId{1}, {1ll << 40, 1ll << 60, {}}});
    deploy(containers / pools_, containers + waiting);
    for (std::uint32_t i = 0; i < containers + waiting; ++i) arrive();
    EMBER_ASSERT(running_.size() == containers);
  }

  // Events handled.
  std::uint64_t run(std::uint64_t events) {
    const std::uint64_t until = handled_ + events;
    const std::uint64_t before = handled_;
    while (handled_ < until) {
      finish_oldest();
      arrive();
    }
    return handled_ - before;
  }

 private:
  static EngineOptions options() {
    EngineOptions without_limit;
    without_limit.workspace_queue_limit = std::numeric_limits<std::uint32_t>::max();
    return without_limit;
  }

  void deploy(std::uint32_t containers, std::uint32_t queue_limit) {
    AppDeployed app{AppId{1}, {}};
    for (std::uint32_t i = 1; i <= pools_; ++i) {
      FunctionSettings settings;
      settings.scaling.max_containers = containers;
      settings.scaling.queue_limit = queue_limit;
      settings.timeout = Duration::seconds(86'400);
      app.pools.push_back({PoolId{i}, FunctionId{i}, settings});
    }
    handle(app);
  }

  void arrive() {
    const std::uint64_t input = ++inputs_;
    handle(InputArrived{InputId{input}, CallId{input}, PoolId{input % pools_ + 1},
                        KeyId{input / pools_ % kCallers + 1}});
  }

  void finish_oldest() {
    const DispatchInput done = running_.front();
    running_.pop_front();
    handle(InputFinished{done.input, done.attempt, done.container, InputOutcome::succeeded});
  }

  void bring_up(ContainerId container) {
    handle(ContainerStarted{container, now_});
    handle(ContainerLoading{container});
    handle(ContainerReady{container});
  }

  void handle(const Event& event) {
    now_ = now_ + kBetweenEvents;
    while (engine_.next_deadline() <= now_) step(TimerDue{});
    step(event);
  }

  void step(const Event& event) {
    engine_.handle(event, now_);
    ++handled_;
    Actions actions;
    actions.swap(spare_);
    engine_.take_actions(actions);
    for (const Action& action : actions) {
      EMBER_ASSERT(!std::holds_alternative<FailInput>(action));  // none is over a limit
      if (const auto* dispatch = std::get_if<DispatchInput>(&action)) running_.push_back(*dispatch);
      if (const auto* start = std::get_if<StartContainer>(&action)) bring_up(start->container);
    }
    actions.clear();
    spare_.swap(actions);
  }

  const std::uint32_t pools_;
  Engine engine_{options()};
  Time now_ = Time::from_ms(1'000'000);
  std::uint64_t inputs_ = 0, handled_ = 0;
  std::deque<DispatchInput> running_;
  Actions spare_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: ember-engine-bench CONTAINERS WAITING EVENTS\n");
    return 2;
  }
  const auto containers = static_cast<std::uint32_t>(std::strtoul(argv[1], nullptr, 10));
  const auto waiting = static_cast<std::uint32_t>(std::strtoul(argv[2], nullptr, 10));
  const std::uint64_t events = std::strtoull(argv[3], nullptr, 10);
  Bench bench(containers, waiting);
  bench.run(events / 10);  // warm
  const auto begun = std::chrono::steady_clock::now();
  const std::uint64_t handled = bench.run(events);
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begun;
  std::printf("{\"containers\": %u, \"waiting\": %u, \"us_per_event\": %.4f}\n", containers,
              waiting, took.count() / static_cast<double>(handled));
}
