#include "sim/driver.h"

#include <algorithm>
#include <utility>

#include "sim/text.h"

namespace ember {
namespace {

PoolSpec guest_pool(const DeployedPool& pool, const std::vector<PoolSpec>& current) {
  PoolSpec guest = pool.spec;
  guest.settings.scaling.min_containers = 0;
  guest.settings.scaling.buffer_containers = 0;
  for (const PoolSpec& spec : current) {
    if (spec.function != guest.function) continue;
    guest.settings.scaling.max_containers = spec.settings.scaling.max_containers;
  }
  return guest;
}

}  // namespace

Driver::Driver(DriverWorld world, Settings settings, Trace trace)
    : world_(world),
      settings_(settings),
      trace_(std::move(trace)),
      later_({world.agenda, world.catalog, store_, [this](const Event& event) { handle(event); },
              [this] { plan_commit(); }},
             settings.schedules) {
  if (settings.checks == Checks::on) checkers_ = all_checkers(settings.workspace_queue_limit);
}

std::uint64_t Driver::hash() const { return engine_ ? hash_ ^ engine_->state_hash() : hash_; }

void Driver::handle(const Event& event) {
  const Time now = world_.agenda.now();
  if (!engine_ || world_.findings.any()) return;
  ++counts_.events;
  mix(event.index() * 0x100000001B3ull + static_cast<std::uint64_t>(now.us));
  if (trace_) trace_(now, "event  " + describe(event));
  for (const auto& checker : checkers_) checker->on_event(step(event));
  if (checks()) facts_.apply(event, now);
  note(event);
  engine_->handle(event, now);
  engine_->take_actions(actions_);
  for (const Action& action : actions_) {
    ++counts_.actions;
    mix(action.index());
    if (trace_) trace_(now, "action " + describe(action));
    for (const auto& checker : checkers_) checker->on_action(step(event), action);
    if (world_.findings.any()) return;
    if (checks()) facts_.apply(action, event, now);
    perform(action);
  }
  for (const auto& checker : checkers_) checker->after_step(step(event), *engine_);
  write_batch();
  arm_timer();
}

// What the driver itself needs to know of what it tells the engine.
void Driver::note(const Event& event) {
  if (std::holds_alternative<InputArrived>(event)) {
    ++unanswered_;
    ++counts_.arrived;
  }
  if (const auto* joined = std::get_if<NodeJoined>(&event)) known_nodes_.insert(joined->node);
  if (const auto* lost = std::get_if<NodeLost>(&event)) known_nodes_.erase(lost->node);
}

void Driver::perform(const Action& action) {
  std::visit([&](const auto& one) { perform_one(one); }, action);
}

void Driver::perform_one(const StartContainer& action) {
  ++counts_.containers;
  mix(action.container.value ^ action.node.value);
  node_of_[action.container] = action.node;
  world_.link.to_node(action.node, action);
}

void Driver::perform_one(const StopContainer& action) { world_.link.to_node(action.node, action); }

void Driver::perform_one(const DispatchInput& action) {
  mix(action.input.value ^ action.container.value);
  firsts_.erase(action.input);
  if (action.batch.first == action.input) firsts_.insert(action.input);
  world_.link.to_node(node_of_.at(action.container), action);
}

void Driver::perform_one(const CancelInput& action) {
  if (firsts_.erase(action.input) > 0) withdraw_calls_of(action.input);
  world_.link.to_node(node_of_.at(action.container), action);
}

void Driver::perform_one(const AnswerInput& action) {
  ++counts_.answered;
  --unanswered_;
  later_.ended(action.input, batch_);
  firsts_.erase(action.input);
  withdraw_calls_of(action.input);
  end_call(action.input);
}

void Driver::perform_one(const FailInput& action) {
  ++counts_.failed;
  counts_.deadlocks += action.reason.code == ReasonCode::deadlocked;
  --unanswered_;
  later_.ended(action.input, batch_);
  if (!firsts_.contains(action.input)) withdraw_calls_of(action.input);
  end_call(action.input);
}

// Of an attempt, one call: a second copy of the message is nothing new.
void Driver::on_call(const CallMade& made, std::optional<InputArrived> call) {
  if (!have_called_.emplace(made.input, made.attempt).second) return;
  if (!call) {
    const auto node = node_of_.find(made.container);
    if (node == node_of_.end()) return;
    return world_.link.to_node(node->second, CallEnded{made.container, made.input, made.attempt});
  }
  calls_[call->input] = made;
  handle(*call);
}

void Driver::end_call(InputId call) {
  const auto made = calls_.extract(call);
  if (made.empty()) return;
  const CallMade& by = made.mapped();
  const auto node = node_of_.find(by.container);
  if (node == node_of_.end()) return;
  world_.link.to_node(node->second, CallEnded{by.container, by.input, by.attempt});
}

// Nobody waits for these any more.
void Driver::withdraw_calls_of(InputId parent) {
  for (const auto& [call, made] : calls_) {
    if (made.input == parent) world_.agenda.after(Duration{0}, CallerLeaves{call});
  }
}

void Driver::perform_one(const ReleaseContainer& action) {
  for (const auto& [call, made] : calls_) {
    if (made.container == action.container) {
      world_.agenda.after(Duration{0}, CallerLeaves{call});
    }
  }
  node_of_.erase(action.container);
  released_.insert(action.container);
  batch_.ended.push_back(action.container);
}

void Driver::write_batch() {
  if (batch_.empty()) return;
  store_.write(std::exchange(batch_, {}));
  plan_commit();
}

void Driver::plan_commit() {
  if (std::exchange(commit_planned_, true)) return;
  world_.agenda.after(Duration::microseconds(world_.random.between(1'000, 60'000)),
                      StoreCommits{epoch_});
}

void Driver::on_commit(const StoreCommits& commit) {
  if (commit.epoch != epoch_ || !engine_) return;
  commit_planned_ = false;
  const Committed done = store_.commit();
  for (const ContainerId id : done.ended) {
    const auto life = world_.witness.find(id);
    if (life != world_.witness.end()) world_.link.to_node(life->second.node, AcknowledgeExit{id});
  }
  counts_.jobs += done.accepted.size();
  later_.on_commit(done);
}

void Driver::drain() {
  handle(DrainStarted{});
  later_.leave_waiting();
}

void Driver::arm_timer() {
  const Time next = engine_->next_deadline();
  if (next >= armed_ || next == Time::never()) return;
  Time at = next;
  if (world_.faults.strikes(&FaultRates::timer_late)) {
    at = at + Duration::microseconds(world_.faults.random().between(0, 50'000));
  }
  armed_ = at;
  world_.agenda.at(at, EngineTimer{++timer_serial_});
}

void Driver::on_timer(const EngineTimer& timer) {
  if (timer.serial != timer_serial_ || !engine_) return;
  armed_ = Time::never();
  if (engine_->next_deadline() <= world_.agenda.now()) return handle(TimerDue{});
  arm_timer();
}

void Driver::on_message(NodeId node, const NodeMessage& message) {
  std::visit(
      [&](const auto& one) {
        using Kind = std::decay_t<decltype(one)>;
        if constexpr (std::is_same_v<Kind, ExitNotice>) {
          on_exit(node, one);
        } else if constexpr (!std::is_same_v<Kind, CallMade>) {
          handle(one);
        }
      },
      message);
}

// The notice says since when the container lived, in case the word of its start has not come; and
// it may be of a container that an earlier driver knew.
void Driver::on_exit(NodeId node, const ExitNotice& notice) {
  const ContainerId id = notice.facts.container;
  if (store_.has_ended(id)) return world_.link.to_node(node, AcknowledgeExit{id});
  if (released_.contains(id)) return;  // acknowledged when that is on disk
  if (!engine_->container(id)) adopt(node, notice.facts, notice.at);
  handle(ContainerStarted{id, notice.facts.started});
  handle(ContainerExited{id, notice.at, notice.cause, notice.facts.egress_bytes});
}

// The pool of an earlier version is declared beside the current ones for as long as it takes to
// adopt the container, and is then retired again with it.
void Driver::adopt(NodeId node, const NodeContainerFacts& facts, Time ended) {
  const DeployedPool& pool = world_.catalog.pool(facts.pool);
  const std::vector<PoolSpec> current = world_.catalog.declared(pool.app);
  const bool is_current = std::any_of(current.begin(), current.end(), [&](const PoolSpec& spec) {
    return spec.pool == facts.pool;
  });
  if (!is_current) {
    std::vector<PoolSpec> widened = current;
    widened.push_back(guest_pool(pool, current));
    handle(AppDeployed{pool.app, std::move(widened), workspace_of(pool.app)});
  }
  ++counts_.adopted;
  node_of_[facts.container] = node;
  handle(ContainerAdopted{facts.container, facts.pool, node, facts.devices, facts.started,
                          store_.billed_until(facts.container, facts.started),
                          store_.egress_billed(facts.container), ended});
  if (is_current) return;
  if (current.empty()) {
    handle(AppStopped{pool.app});
  } else {
    handle(AppDeployed{pool.app, current, workspace_of(pool.app)});
  }
}

void Driver::on_node_up(NodeId id) {
  if (!engine_) return;
  SimNode& node = world_.nodes.at(id);
  // One that comes later has no room at first, so that nothing new takes the place of what is
  // adopted; an engine that recovers starts nothing anyway.
  const NodeCapacity no_room{0, 0, node.capacity().devices};
  handle(NodeJoined{id, recovering_ ? node.capacity() : no_room});
  for (const NodeContainerFacts& facts : node.survivors()) {
    if (!engine_->container(facts.container)) adopt(id, facts);
    handle(EgressReported{facts.container, facts.egress_bytes});
  }
  for (const ExitNotice& notice : node.unacknowledged()) on_exit(id, notice);
  if (!recovering_) handle(NodeJoined{id, node.capacity()});
  node.greet_driver();
}

void Driver::on_node_down(NodeId node) { handle(NodeLost{node}); }

void Driver::crash() {
  if (trace_) trace_(world_.agenda.now(), "driver crashes");
  const bool all = !world_.faults.strikes(&FaultRates::store_lost);
  store_.crash(all ? store_.waiting() : world_.random.below(store_.waiting() + 1));
  engine_.reset();
  facts_.restart();
  for (const auto& checker : checkers_) checker->on_restart();
  batch_ = {};
  known_nodes_.clear();
  unanswered_ = 0;
  node_of_.clear();
  calls_.clear();
  have_called_.clear();
  firsts_.clear();
  later_.crash();
  released_.clear();
  armed_ = Time::never();
  for (const auto& [id, node] : world_.nodes) world_.link.renew(id);
}

void Driver::start() {
  EngineOptions options;
  options.epoch = ++epoch_;
  options.usage_window = settings_.usage_window;
  options.workspace_queue_limit = settings_.workspace_queue_limit;
  options.begin = Begin::recovering;
  engine_.emplace(options);
  later_.begin(*engine_);
  commit_planned_ = false;
  recovering_ = true;
  if (epoch_ > 1) ++counts_.restarts;
  // What was said while none was there is not heard by this one.
  for (const auto& [id, node] : world_.nodes) world_.link.renew(id);
  if (trace_) trace_(world_.agenda.now(), "driver starts, epoch " + std::to_string(epoch_));
  for (const auto& [id, app] : world_.catalog.apps()) {
    if (!app.stopped) handle(AppDeployed{id, world_.catalog.declared(id), workspace_of(id)});
  }
  for (const auto& [id, lease] : store_.leases()) {
    if (lease.released != Time{}) continue;
    const GrantLease& grant = lease.grant;
    handle(LeaseRestored{id, grant.node, grant.devices, grant.gpu_type, grant.from, grant.until,
                         lease.billed_until});
  }
  later_.restore();
  for (const auto& [id, node] : world_.nodes) {
    if (!world_.link.is_cut(id)) on_node_up(id);
  }
  recovering_ = false;
  handle(RecoveryEnded{});
}

void Driver::check_end() {
  if (!engine_) return;
  store_.commit();
  const EndOfRun end{facts_, *engine_, store_, later_, world_.witness, world_.findings};
  for (const auto& checker : checkers_) checker->at_end(end);
}

}  // namespace ember
