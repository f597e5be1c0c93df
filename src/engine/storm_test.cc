// Random events of every kind, sensible and absurd, against a small model of the world that knows
// only the contract: what must hold whatever happens. Prints the seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "base/random.h"
#include "engine/engine.h"

namespace ember {
namespace {

class Storm {
 public:
  explicit Storm(std::uint64_t seed) : random_(seed) {
    EngineOptions options;
    options.usage_window = Duration::milliseconds(random_.between(1, 70) * 1000);
    engine_ = Engine(options);
    for (std::uint64_t node = 1; node <= 2; ++node) join(NodeId{node});
    deploy(1);
    deploy(2);
  }

  void run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      now_ = now_ + Duration::microseconds(random_.chance(100) ? random_.between(0, 3'000'000)
                                                               : random_.between(0, 2000));
      if (engine_.next_deadline() <= now_ && random_.chance(900)) timer();
      random_event();
    }
  }

  // No more faults: nodes answer, runners finish. In the end nothing may be left undone.
  void heal() {
    for (std::uint64_t node = 1; node <= 2; ++node) join(NodeId{node});
    if (random_.chance(300)) send(DrainStarted{});
    for (int i = 0; i < 20'000 && !testing::Test::HasFailure(); ++i) {
      const bool work = std::any_of(inputs_.begin(), inputs_.end(),
                                    [](const auto& input) { return !input.second.answered; });
      if (!work) break;
      obey();
      now_ = now_ + Duration::milliseconds(50);
      timer();
    }
    for (const auto& [id, input] : inputs_) {
      EXPECT_TRUE(input.answered) << id.text() << " "
                                  << engine_.explain(id).value_or(Reason{}).text();
    }
    for (std::uint64_t app = 1; app <= 2; ++app) send(AppStopped{AppId{app}});
    for (int i = 0; i < 100; ++i) {
      obey();
      now_ = now_ + Duration::seconds(31);
      timer();
    }
    EXPECT_TRUE(engine_.pools().empty());
    EXPECT_TRUE(engine_.containers().empty());
    for (const NodeView& node : engine_.nodes()) {
      EXPECT_TRUE(node.holds.empty());
      EXPECT_EQ(node.cpu_millicores_free, node.capacity.cpu_millicores);
      EXPECT_EQ(node.memory_bytes_free, node.capacity.memory_bytes);
    }
    EXPECT_EQ(engine_.next_deadline(), Time::never());
  }

  std::uint64_t hash() const { return engine_.state_hash(); }

 private:
  struct Input {
    bool answered = false;
    ContainerId container;
    Attempt attempt = 0;
  };
  struct Container {
    PoolId pool;
    NodeId node;
    std::set<InputId> slots;
    std::vector<DeviceId> devices;
    bool stopping = false, released = false, started = false, ready = false;
    Time covered;  // by usage rows
    std::map<Meter, std::int64_t> window_ms;
    Time window_start;
    std::int64_t egress_told = 0, egress_billed = 0;
  };

  // --- the world's events ---
  void random_event() {
    switch (random_.below(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        return arrive();
      case 5:
      case 6:
      case 7:
      case 8:
        return end_some_input();
      case 9:
        return send(InputCancelled{InputId{random_.below(next_input_ + 2) + 1}});
      case 10:
      case 11:
      case 12:
      case 13:
        return container_event();
      case 14:
        return random_.chance(150) ? send(NodeLost{NodeId{random_.below(2) + 1}}) : arrive();
      case 15:
        return join(NodeId{random_.below(2) + 1});
      case 16:
        if (random_.chance(50)) return deploy(random_.below(2) + 1);
        return random_.chance(50) ? add_variant(random_.below(2) + 1) : timer();
      case 17:
        return random_.chance(10) ? send(AppStopped{AppId{random_.below(2) + 1}}) : timer();
      case 18:
        return random_.chance(20) ? adopt() : timer();
      default:
        return timer();
    }
  }

  void join(NodeId node) {
    NodeCapacity capacity{8000, 1ll << 34, {}};
    for (std::uint64_t i = 0; i < 3; ++i) {
      capacity.devices.push_back({DeviceId{node.value * 10 + i}, i == 2 ? "H100" : "L4", 0, true});
    }
    send(NodeJoined{node, capacity});
  }

  PoolSpec draw_pool(std::uint64_t function) {
    FunctionSettings settings;
    Scaling& scaling = settings.scaling;
    settings.timeout = Duration::milliseconds(random_.between(1, 3000));
    settings.startup_timeout = Duration::milliseconds(random_.between(100, 5000));
    scaling.max_containers = static_cast<std::uint32_t>(random_.between(1, 4));
    scaling.min_containers =
        random_.chance(300) ? static_cast<std::uint32_t>(random_.between(0, 1)) : 0;
    scaling.buffer_containers = static_cast<std::uint32_t>(random_.below(2));
    scaling.max_inputs = static_cast<std::uint32_t>(random_.between(1, 4));
    scaling.target_inputs = static_cast<std::uint32_t>(random_.between(1, scaling.max_inputs));
    scaling.scaledown_window = Duration::milliseconds(random_.between(0, 4000));
    scaling.queue_limit = 20;
    if (random_.chance(300)) {
      settings.batching.max_batch_size = static_cast<std::uint32_t>(random_.between(1, 5));
      settings.batching.wait = Duration::milliseconds(random_.between(0, 100));
    }
    if (random_.chance(600)) settings.resources.gpu.choices = {{"H100", 1}, {"L4", 1}};
    if (random_.chance(100)) settings.resources.gpu.choices = {{"L4", 2}};
    if (scaling.min_containers > 0) settings.resources.gpu = {};  // the floors leave all devices
    const PoolId pool{++next_pool_};
    functions_[pool] = FunctionId{function};
    settings_[pool] = settings;
    current_[function] = pool;
    return {pool, FunctionId{function}, settings,
            random_.chance(200) ? Spread::apart : Spread::packed};
  }

  void deploy(std::uint64_t app) {
    AppDeployed event{AppId{app}, {}};
    for (std::uint64_t function = 1; function <= 2; ++function) {
      event.pools.push_back(draw_pool(app * 10 + function));
    }
    send(event);
  }

  // Of an app that may be stopped; then it is none.
  void add_variant(std::uint64_t app) {
    const auto before = current_;
    const PoolSpec spec = draw_pool(app * 10 + 3 + random_.below(2));
    send(PoolAdded{AppId{app}, spec});
    if (!engine_.pool(spec.pool)) current_ = before;
  }

  void arrive() {
    const InputId input{++next_input_};
    inputs_[input] = {};
    const auto at =
        std::next(current_.begin(), static_cast<std::ptrdiff_t>(random_.below(current_.size())));
    send(InputArrived{input, CallId{1}, at->second});
    if (!inputs_[input].answered && random_.chance(20)) {
      send(InputArrived{input, CallId{1}, at->second});
    }
  }

  Container* any_container(ContainerId& id) {
    if (containers_.empty()) return nullptr;
    auto at = std::next(containers_.begin(),
                        static_cast<std::ptrdiff_t>(random_.below(containers_.size())));
    if (at->second.released && random_.chance(950)) {
      at = std::find_if(containers_.begin(), containers_.end(),
                        [](const auto& one) { return !one.second.released; });
      if (at == containers_.end()) return nullptr;
    }
    id = at->first;
    return &at->second;
  }

  void end_some_input() {
    ContainerId id;
    Container* container = any_container(id);
    if (!container || container->slots.empty()) return;
    const InputId input = *container->slots.begin();
    Attempt attempt = inputs_[input].attempt;
    if (random_.chance(30)) --attempt;
    finish(input, attempt, id);
    if (random_.chance(30)) finish(input, attempt, id);
  }

  void finish(InputId input, Attempt attempt, ContainerId container) {
    if (attempt == inputs_[input].attempt && inputs_[input].container == container) {
      containers_[container].slots.erase(input);
    }
    send(InputFinished{input, attempt, container, InputOutcome::succeeded});
  }

  void container_event() {
    ContainerId id;
    Container* container = any_container(id);
    if (!container) return;
    const Time at = now_ + Duration::microseconds(random_.between(-200'000, 100'000));
    if (random_.chance(200)) return report_egress(id, *container);
    switch (random_.below(10)) {
      case 0:
      case 1:
      case 2:
        container->started = true;
        return send(ContainerStarted{id, at});
      case 3:
        return send(ContainerLoading{id});
      case 4:
      case 5:
      case 6:
        return send(ContainerReady{id});
      case 7:
        return container->started ? void() : send(ContainerRefused{id});
      default:
        if (!container->stopping && random_.chance(700)) return;
        return send(ContainerExited{id, at, static_cast<ExitCause>(random_.below(4))});
    }
  }

  void report_egress(ContainerId id, Container& container) {
    const std::int64_t total = random_.between(-10, 1'000'000);
    if (container.started) container.egress_told = std::max(container.egress_told, total);
    send(EgressReported{id, total});
  }

  void adopt() {
    const ContainerId id{(9ull << 40) + ++next_adopted_};
    const auto at =
        std::next(current_.begin(), static_cast<std::ptrdiff_t>(random_.below(current_.size())));
    const NodeId node{random_.below(2) + 1};
    const auto nodes = engine_.nodes();
    const bool known = std::any_of(nodes.begin(), nodes.end(),
                                   [&](const NodeView& view) { return view.node == node; });
    if (!known) return;
    Container container;
    container.pool = at->second;
    container.node = node;
    container.started = true;
    container.covered = Time::from_ms(now_.whole_ms());
    containers_[id] = container;
    send(ContainerAdopted{id, at->second, node, {}, now_, now_});
  }

  void timer() {
    send(TimerDue{});
    EXPECT_GT(engine_.next_deadline(), now_);
  }

  // Everyone does what the engine asked for.
  void obey() {
    for (const ContainerView& view : engine_.containers()) {
      Container& container = containers_[view.container];
      if (view.state == ContainerState::stopping) {
        send(ContainerExited{view.container, now_, ExitCause::stopped});
        continue;
      }
      if (!container.started) send(ContainerStarted{view.container, now_});
      container.started = true;
      if (view.ready == Time{}) send(ContainerReady{view.container});
      while (!containers_[view.container].slots.empty()) {
        const InputId input = *containers_[view.container].slots.begin();
        finish(input, inputs_[input].attempt, view.container);
      }
    }
  }

  // --- what must hold ---
  void send(const Event& event) {
    engine_.handle(event, now_);
    Actions actions;
    engine_.take_actions(actions);
    for (const Action& action : actions) {
      std::visit([&](const auto& one) { check(one); }, action);
    }
  }

  std::uint32_t held(FunctionId function) {
    std::uint32_t count = 0;
    for (const auto& [id, container] : containers_) {
      if (!container.released && functions_[container.pool] == function) ++count;
    }
    return count;
  }

  // Nobody leases here; sim/check_leases.cc looks at those.
  void check(const RetryInput&) {}
  void check(const GrantLease&) {}
  void check(const RefuseLease&) {}
  void check(const ReleaseLease&) {}
  void check(const StartContainer& start) {
    EXPECT_FALSE(containers_.contains(start.container));
    EXPECT_NE(start.reason.code, ReasonCode::none);
    const FunctionId function = functions_[start.pool];
    Container& container = containers_[start.container];
    container.pool = start.pool;
    container.node = start.node;
    container.devices = start.devices;
    EXPECT_LE(held(function), settings_[current_[function.value]].scaling.max_containers);
    for (const auto& [id, other] : containers_) {
      if (other.released || id == start.container) continue;
      for (const DeviceId device : start.devices) {
        EXPECT_EQ(std::count(other.devices.begin(), other.devices.end(), device), 0);
      }
    }
  }

  void check(const StopContainer& stop) {
    Container& container = containers_[stop.container];
    EXPECT_FALSE(container.released);
    EXPECT_NE(stop.reason.code, ReasonCode::none);
    if (stop.mode == StopMode::graceful) {
      EXPECT_TRUE(container.slots.empty());
    }
    container.stopping = true;
    container.slots.clear();
  }

  void check(const DispatchInput& dispatch) {
    Container& container = containers_[dispatch.container];
    Input& input = inputs_[dispatch.input];
    EXPECT_FALSE(input.answered);
    EXPECT_FALSE(container.stopping || container.released);
    EXPECT_EQ(dispatch.attempt, input.attempt + 1);
    input.attempt = dispatch.attempt;
    input.container = dispatch.container;
    container.slots.insert(dispatch.input);
    const FunctionSettings& settings = settings_[container.pool];
    if (settings.batching.is_on()) return check_batch(dispatch, settings);
    EXPECT_LE(container.slots.size(), settings.scaling.max_inputs);
    EXPECT_FALSE(dispatch.batch.first);
  }

  // One after the other, to one container, and no more batches there than it may run.
  void check_batch(const DispatchInput& dispatch, const FunctionSettings& settings) {
    Container& container = containers_[dispatch.container];
    const BatchPlace& batch = dispatch.batch;
    EXPECT_LE(batch.size, settings.batching.max_batch_size);
    batches_[dispatch.input] = batch;
    std::set<InputId> firsts;
    for (const InputId input : container.slots) firsts.insert(batches_[input].first);
    EXPECT_LE(firsts.size(), settings.scaling.max_inputs);
    if (batch.first != dispatch.input) {
      EXPECT_EQ(batch, batches_[batch.first]);
      EXPECT_EQ(inputs_[batch.first].container, dispatch.container);
    } else {
      EXPECT_EQ(dispatch.attempt, batch.attempt);
    }
  }

  void check(const CancelInput& cancel) {
    const Container& container = containers_[cancel.container];
    if (!settings_[container.pool].batching.is_on()) {
      EXPECT_TRUE(container.slots.contains(cancel.input));
      EXPECT_EQ(inputs_[cancel.input].attempt, cancel.attempt);
      return;
    }
    bool any = false;
    for (const InputId input : container.slots) {
      if (batches_[input].first != cancel.input) continue;
      any = true;
      EXPECT_TRUE(inputs_[input].answered) << input.text() << " is waited for";
    }
    EXPECT_TRUE(any);
  }

  void answer(InputId id, const InputReport& report) {
    EXPECT_FALSE(inputs_[id].answered) << id.text() << " answered twice";
    inputs_[id].answered = true;
    EXPECT_GE(report.execute_share, Duration{});
    // The last of up to twenty inputs takes the microseconds that their divisions left over.
    EXPECT_LE(report.execute_share,
              report.finished - report.dispatched + Duration::microseconds(19));
    EXPECT_LE(report.arrived, report.finished);
  }
  void check(const AnswerInput& one) { answer(one.input, one.report); }
  void check(const FailInput& one) {
    answer(one.input, one.report);
    EXPECT_NE(one.reason.code, ReasonCode::none);
  }

  // Rows come window by window; each meter's phases must fill the window.
  void check(const RecordUsage& usage) {
    const UsageRow& row = usage.row;
    Container& container = containers_[row.container];
    EXPECT_FALSE(container.released);
    EXPECT_GT(row.quantity, 0);
    if (row.meter == Meter::egress) {
      container.egress_billed += row.quantity;
      return;
    }
    EXPECT_LT(row.window_start, row.window_end);
    EXPECT_EQ(row.window_start.us % 1000, 0);
    if (container.covered != Time{} && row.window_start != container.window_start) {
      EXPECT_EQ(row.window_start, container.covered);
    }
    if (row.window_start != container.window_start) container.window_ms.clear();
    container.window_start = row.window_start;
    container.covered = row.window_end;
    container.window_ms[row.meter] += row.quantity;
    EXPECT_LE(container.window_ms[row.meter], (row.window_end - row.window_start).whole_ms());
  }

  void check(const ReleaseContainer& release) {
    Container& container = containers_[release.container];
    EXPECT_FALSE(container.released);
    for (const auto& [meter, ms] : container.window_ms) {
      EXPECT_EQ(ms, (container.covered - container.window_start).whole_ms());
    }
    EXPECT_EQ(container.egress_billed, container.egress_told);
    container.released = true;
    container.slots.clear();
    container.devices.clear();
  }

  Random random_;
  Engine engine_{EngineOptions{}};
  Time now_ = Time::from_ms(1'000'000);
  std::map<InputId, Input> inputs_;
  std::map<InputId, BatchPlace> batches_;  // the last that each was in
  std::map<ContainerId, Container> containers_;
  std::map<PoolId, FunctionId> functions_;
  std::map<PoolId, FunctionSettings> settings_;
  std::map<std::uint64_t, PoolId> current_;  // by function
  std::uint64_t next_input_ = 0, next_pool_ = 0, next_adopted_ = 0;
};

class Storms : public testing::TestWithParam<std::uint64_t> {};

TEST_P(Storms, LeaveNothingDoubledLostOrUndone) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  Storm storm(GetParam());
  storm.run(4000);
  storm.heal();
}

TEST_P(Storms, RepeatToTheSameHash) {
  Storm a(GetParam()), b(GetParam());
  a.run(1000);
  b.run(1000);
  EXPECT_EQ(a.hash(), b.hash());
}

// EMBER_SEEDS asks for more than the usual few, for `make drill` and by hand.
std::uint64_t seeds() {
  const char* text = std::getenv("EMBER_SEEDS");
  return text ? std::strtoull(text, nullptr, 10) : 40;
}

INSTANTIATE_TEST_SUITE_P(Seeds, Storms, testing::Range<std::uint64_t>(1, seeds() + 1));

}  // namespace
}  // namespace ember
