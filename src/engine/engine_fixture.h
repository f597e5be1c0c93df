// For the engine's tests: an engine with a hand on its clock, short names for events, and the
// actions of the last step at hand.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace ember {

class EngineFixture : public testing::Test {
 protected:
  static constexpr AppId kApp{1};
  static constexpr FunctionId kFunction{1};
  static constexpr PoolId kPool{1};
  static constexpr NodeId kNode{1};

  // --- time ---
  void after(Duration duration) { now_ = now_ + duration; }
  // Lets time pass and delivers TimerDue whenever the engine asked for it.
  void pass(Duration duration) {
    const Time end = now_ + duration;
    while (engine_.next_deadline() <= end) {
      now_ = std::max(now_, engine_.next_deadline());
      engine_.handle(TimerDue{}, now_);
      ASSERT_GT(engine_.next_deadline(), now_);
    }
    now_ = end;
    collect();
  }

  // --- events ---
  void send(const Event& event) {
    engine_.handle(event, now_);
    collect();
  }
  void join(NodeId node = kNode, std::vector<Device> devices = {}) {
    send(NodeJoined{node, {64'000, 256ll << 30, std::move(devices)}});
  }
  void deploy(const FunctionSettings& settings, PoolId pool = kPool) {
    send(AppDeployed{kApp, {{pool, kFunction, settings}}});
  }
  void arrive(std::uint64_t input, PoolId pool = kPool, KeyId caller = {}) {
    send(InputArrived{InputId{input}, CallId{input}, pool, caller});
  }
  void finish(std::uint64_t input, ContainerId container, Attempt attempt = 1) {
    send(InputFinished{InputId{input}, attempt, container, InputOutcome::succeeded});
  }
  void started(ContainerId container) { send(ContainerStarted{container, now_}); }
  void ready(ContainerId container) { send(ContainerReady{container}); }
  void exited(ContainerId container, ExitCause cause) {
    send(ContainerExited{container, now_, cause});
  }
  void bring_up(ContainerId container) {
    started(container);
    send(ContainerLoading{container});
    ready(container);
  }
  // A container that is ready, started by the arrival of `input`, which it runs.
  ContainerId running_container(std::uint64_t input) {
    arrive(input);
    const auto starts = all<StartContainer>();
    EXPECT_EQ(starts.size(), 1u);
    if (starts.empty()) return {};
    bring_up(starts.front().container);
    return starts.front().container;
  }

  // --- what came out since the last collect ---
  template <class T>
  std::vector<T> all() const {
    std::vector<T> result;
    for (const Action& action : actions_) {
      if (const T* one = std::get_if<T>(&action)) result.push_back(*one);
    }
    return result;
  }
  // The only one of its kind.
  template <class T>
  T only() const {
    const auto found = all<T>();
    EXPECT_EQ(found.size(), 1u);
    return found.empty() ? T{} : found.front();
  }
  PoolView pool(PoolId id = kPool) const { return engine_.pool(id).value_or(PoolView{}); }

  // Steps over several sends: forget() then look at everything since.
  void forget() {
    actions_.clear();
    accumulate_ = true;
  }
  void collect() {
    Actions fresh;
    engine_.take_actions(fresh);
    if (!accumulate_) actions_.clear();
    for (const Action& action : fresh) {
      if (const auto* usage = std::get_if<RecordUsage>(&action)) rows_.push_back(usage->row);
      actions_.push_back(action);
    }
  }

  static FunctionSettings settings() { return {}; }

  Engine engine_{EngineOptions{}};
  Time now_ = Time::from_ms(1'000'000);
  Actions actions_;
  std::vector<UsageRow> rows_;  // all of them
  bool accumulate_ = false;
};

}  // namespace ember
