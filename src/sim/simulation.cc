#include "sim/simulation.h"

#include <algorithm>
#include <utility>

#include "sim/workload.h"

namespace ember {
namespace {

constexpr Time kStart = Time::from_ms(1'700'000'000'000);
constexpr Duration kLease = Duration::seconds(8);         // a node's, from the cut on
constexpr Duration kLeaseMargin = Duration::seconds(1);   // the driver waits so much longer
constexpr Duration kDemand = Duration::seconds(15);       // of the healed system
constexpr Duration kPatience = Duration::seconds(1'800);  // at most, until all are answered
constexpr Duration kRest = Duration::seconds(90);         // for idle windows and hung exits
constexpr std::uint32_t kApps = 3;

// So low in some runs that it is reached.
std::uint32_t draw_workspace_limit(std::uint64_t seed) {
  Random random(seed ^ 0x3057ull);
  return random.chance(300) ? static_cast<std::uint32_t>(random.between(8, 40)) : 50'000;
}

// Some functions are run by themselves, through all faults.
std::vector<SimSchedule> draw_schedules(Random random, const std::vector<FunctionId>& functions) {
  std::vector<SimSchedule> schedules;
  for (const FunctionId function : functions) {
    if (!random.chance(250)) continue;
    auto schedule = period_schedule(Duration::seconds(random.between(1, 20)));
    EMBER_ASSERT(schedule.ok());
    if (random.chance(500)) schedule->missed = MissedTicks::run_once;
    schedules.push_back({function, *schedule, kStart, function.value << 24});
  }
  return schedules;
}

class Simulation {
 public:
  Simulation(const SimOptions& options, Driver::Trace trace)
      : options_(options),
        faults_(options, options.seed ^ 0xFA017ull),
        random_(options.seed ^ 0x510ADull),
        people_(options.seed ^ 0x1EA5Eull),
        variants_(options.seed ^ 0x7A41A27ull),
        rollouts_(options.seed ^ 0x2011007ull),
        calls_(options.seed ^ 0xCA111ull),
        jobs_(options.seed ^ 0x10B5ull),
        calls_made_(calls_.chance(400) ? static_cast<std::uint32_t>(calls_.between(50, 400)) : 0),
        agenda_(kStart),
        link_(agenda_, faults_),
        catalog_(random_, Random(options.seed ^ 0xBA7C4ull), kApps),
        workload_(random_, Random(options.seed ^ 0xCA11E2ull), Random(options.seed ^ 0x9210ull),
                  catalog_.functions()),
        driver_({agenda_, faults_, random_, link_, catalog_, findings_, witness_, nodes_},
                {Duration::seconds(random_.between(2, 20)), draw_workspace_limit(options.seed),
                 draw_schedules(Random(options.seed ^ 0x71C5ull), catalog_.functions()),
                 options.checks},
                std::move(trace)) {}

  SimReport run();

 private:
  void begin();
  void run_until(Time end);
  void heal();

  void on(const CommandArrives& task);
  void on(const MessageArrives& task);
  void on(const StartStepDue& task) { nodes_.at(task.node).on(task); }
  void on(const ExecutionDue& task) { nodes_.at(task.node).on(task); }
  void on(const FirstItemDue& task) { nodes_.at(task.node).on(task); }
  void on(const CallDue& task) { nodes_.at(task.node).on(task); }
  void on(const ExitDue& task) { nodes_.at(task.node).on(task); }
  void on(const NodeHeals& task);
  void on(const NodeFencesItself& task);
  void on(const LeaseRunsOut& task);
  void on(const EngineTimer& task) { driver_.on_timer(task); }
  void on(const StoreCommits& task) { driver_.on_commit(task); }
  void on(const DriverStarts&);
  void on(const FunctionCalled& task);
  void on(const CallerLeaves& task) { driver_.handle(InputCancelled{task.input}); }
  void on(const JobAsked& task);
  void on(const TickDue& task) { driver_.on_tick(task); }
  void on(const LeaseGivenBack& task) { driver_.handle(LeaseEnded{task.lease}); }
  void on(const RolloutEnds& task) {
    end_rollout(task.app,
                rollouts_.chance(600) ? Catalog::Outcome::takes_over : Catalog::Outcome::withdrawn);
  }
  void on(const SecondPasses&);

  void change_an_app();
  void begin_a_rollout();
  void end_rollout(AppId app, Catalog::Outcome outcome);
  void add_a_variant();
  void restart_driver();
  void start_outage();
  void change_a_device();
  void ask_for_a_lease();
  void call(FunctionId function);
  void spawn(FunctionId function);
  void call_from(const CallMade& made);
  std::optional<PoolId> pool_for(FunctionId function);

  SimOptions options_;
  Findings findings_;
  Faults faults_;
  Random random_;
  Random people_;             // who lease devices
  Random variants_;           // whether there are more, and who is called
  Random rollouts_;           // of versions beside those before them
  Random calls_;              // that inputs make
  Random jobs_;               // calls for later
  std::uint32_t calls_made_;  // per mille of executions; in some runs none
  Agenda<Task> agenda_;
  Link link_;
  Catalog catalog_;
  Workload workload_;
  Witness witness_;
  std::map<NodeId, SimNode> nodes_;
  Driver driver_;

  struct Outage {
    std::uint64_t number = 0;  // of the last one
    bool rebooted = false;
    bool given_up = false;  // by the driver
  };
  std::map<NodeId, Outage> outages_;
  std::uint64_t next_input_ = 1;
  std::uint64_t next_lease_ = 1;
  std::vector<Job> asked_;  // for, by key, from 1
  bool calling_ = true;
  bool changing_ = true;
  bool draining_ = false;
};

void Simulation::begin() {
  const NodeWorld world{agenda_,   faults_,  random_, link_,      catalog_,
                        findings_, witness_, calls_,  calls_made_};
  for (auto& [id, capacity] : draw_fleet(random_)) {
    nodes_.emplace(std::piecewise_construct, std::forward_as_tuple(id),
                   std::forward_as_tuple(id, std::move(capacity), world));
  }
  driver_.start();
  for (const auto& [id, app] : catalog_.apps()) {
    driver_.handle(catalog_.deploy(id, Catalog::Health::any));
  }
  for (const FunctionId function : catalog_.functions()) {
    agenda_.after(workload_.draw(function).next, FunctionCalled{function});
  }
  agenda_.after(Duration::seconds(1), SecondPasses{});
}

void Simulation::run_until(Time end) {
  while (!findings_.any() && agenda_.next_time() <= end) {
    const Task task = agenda_.pop();
    findings_.set_time(agenda_.now());
    std::visit([this](const auto& one) { on(one); }, task);
  }
}

SimReport Simulation::run() {
  findings_.set_time(kStart);
  begin();
  run_until(kStart + options_.safety);
  heal();
  run_until(kStart + options_.safety + kDemand);
  calling_ = false;
  driver_.end_ticks();
  const Time latest = agenda_.now() + kPatience;
  while (!driver_.is_settled() && !findings_.any() && agenda_.next_time() < latest) {
    run_until(agenda_.next_time());
  }
  run_until(agenda_.now() + kRest);
  if (!findings_.any()) driver_.check_end();

  SimReport report;
  report.seed = options_.seed;
  report.violation = findings_.first();
  report.state_hash = driver_.hash();
  report.counts = driver_.counts();
  report.inputs = report.counts.arrived;
  report.simulated = agenda_.now() - kStart;
  report.faults = faults_.counts();
  report.billed_nano_usd = driver_.billed().nano_usd;
  return report;
}

// No more faults, all nodes and the driver are back, and what could not be loaded is replaced.
void Simulation::heal() {
  faults_.heal();
  changing_ = false;
  if (driver_.up() && draining_) restart_driver();
  for (auto& [id, node] : nodes_) {
    node.mend_devices();
    if (driver_.up() && driver_.knows(id)) driver_.handle(NodeJoined{id, node.capacity()});
    if (link_.is_cut(id)) agenda_.after(Duration::seconds(1), NodeHeals{id});
  }
  for (const auto& [id, app] : catalog_.apps()) end_rollout(id, Catalog::Outcome::withdrawn);
  for (const auto& [id, app] : catalog_.apps()) {
    if (!app.stopped && !catalog_.any_broken(id)) continue;
    driver_.handle(catalog_.deploy(id, Catalog::Health::healthy));
  }
}

void Simulation::on(const CommandArrives& task) {
  if (!link_.is_current(task.node, task.session)) return;
  if (link_.is_cut(task.node)) return link_.hold(task.node, task);
  SimNode& node = nodes_.at(task.node);
  std::visit([&](const auto& command) { node.on(command); }, task.command);
}

void Simulation::on(const MessageArrives& task) {
  if (!link_.is_current(task.node, task.session)) return;
  if (link_.is_cut(task.node)) return link_.hold(task.node, task);
  if (!driver_.up()) return;
  if (const auto* made = std::get_if<CallMade>(&task.message)) return call_from(*made);
  driver_.on_message(task.node, task.message);
}

// --- nodes ---------------------------------------------------------------------------------------

// A node is cut off, or goes down with all it has. It may be back before its lease runs out.
void Simulation::start_outage() {
  auto node = nodes_.begin();
  std::advance(node, static_cast<std::ptrdiff_t>(random_.below(nodes_.size())));
  const NodeId id = node->first;
  if (link_.is_cut(id)) return;
  Outage& outage = outages_[id];
  ++outage.number;
  outage.given_up = false;
  outage.rebooted = random_.chance(300);
  link_.cut(id);
  if (outage.rebooted) {
    node->second.reboot();
    link_.renew(id);
  }
  agenda_.after(kLease, NodeFencesItself{id, outage.number});
  agenda_.after(kLease + kLeaseMargin, LeaseRunsOut{id, outage.number});
  agenda_.after(Duration::milliseconds(random_.between(200, 16'000)), NodeHeals{id});
}

// One that is cut off could not tell of it.
void Simulation::change_a_device() {
  auto node = nodes_.begin();
  std::advance(node, static_cast<std::ptrdiff_t>(faults_.random().below(nodes_.size())));
  const auto& [id, changed] = *node;
  if (link_.is_cut(id) || !node->second.change_a_device()) return;
  if (driver_.up() && driver_.knows(id)) driver_.handle(NodeJoined{id, changed.capacity()});
}

void Simulation::on(const NodeFencesItself& task) {
  if (link_.is_cut(task.node) && outages_[task.node].number == task.outage) {
    nodes_.at(task.node).fence();
  }
}

void Simulation::on(const LeaseRunsOut& task) {
  Outage& outage = outages_[task.node];
  if (!link_.is_cut(task.node) || outage.number != task.outage) return;
  outage.given_up = true;
  link_.renew(task.node);
  driver_.on_node_down(task.node);
}

// A node that has rebooted is another one: what it had is gone.
void Simulation::on(const NodeHeals& task) {
  if (!link_.is_cut(task.node)) return;
  Outage& outage = outages_[task.node];
  const bool same_connection = !outage.rebooted && !outage.given_up && driver_.knows(task.node);
  if (same_connection) return link_.mend(task.node);
  if (!outage.given_up) driver_.on_node_down(task.node);
  link_.renew(task.node);
  link_.mend(task.node);
  driver_.on_node_up(task.node);
}

// --- the driver ----------------------------------------------------------------------------------

void Simulation::restart_driver() {
  driver_.crash();
  draining_ = false;
  agenda_.after(Duration::milliseconds(random_.between(100, 3'000)), DriverStarts{});
}

void Simulation::on(const DriverStarts&) { driver_.start(); }

void Simulation::on(const SecondPasses&) {
  if (!changing_) return;
  agenda_.after(Duration::seconds(1), SecondPasses{});
  if (faults_.strikes(&FaultRates::node_outage)) start_outage();
  if (faults_.strikes(&FaultRates::device_cordon)) change_a_device();
  if (!driver_.up()) return;
  if (faults_.strikes(&FaultRates::driver_crash)) return restart_driver();
  if (draining_ && random_.chance(150)) return restart_driver();
  if (random_.chance(60)) change_an_app();
  if (variants_.chance(100)) add_a_variant();
  if (rollouts_.chance(60)) begin_a_rollout();
  if (!draining_ && people_.chance(150)) ask_for_a_lease();
  if (!draining_ && random_.chance(3)) {
    draining_ = true;
    driver_.drain();
  }
}

// --- people
// ---------------------------------------------------------------------------------------

// Some wait for a device, and some give theirs back before its time, or stop waiting.
void Simulation::ask_for_a_lease() {
  static const std::vector<GpuDemand> kDemands = {
      {{{"L4", 1}}}, {{{"L4", 2}}}, {{{"H100", 1}}}, {{{"L4", 1}, {"H100", 1}}, 0, 30ll << 30}};
  const LeaseId lease{next_lease_++};
  const auto length = Duration::milliseconds(people_.between(500, 25'000));
  const auto if_none = people_.chance(400) ? IfNoneFree::wait : IfNoneFree::refuse;
  driver_.handle(LeaseAsked{lease, kDemands[people_.below(kDemands.size())], length, if_none});
  if (!people_.chance(500)) return;
  agenda_.after(Duration::milliseconds(people_.between(1, 15'000)), LeaseGivenBack{lease});
}

// --- the load ------------------------------------------------------------------------------------

void Simulation::change_an_app() {
  const AppId id{random_.below(kApps) + 1};
  const bool stopped = catalog_.apps().at(id).stopped;
  if (!stopped && random_.chance(200)) {
    catalog_.stop(id);
    driver_.handle(AppStopped{id});
  } else if (random_.chance(300)) {
    driver_.handle(catalog_.roll_back(id));
  } else {
    driver_.handle(catalog_.deploy(id, Catalog::Health::any));
  }
}

void Simulation::begin_a_rollout() {
  const AppId id{rollouts_.below(kApps) + 1};
  const DeployedApp& app = catalog_.apps().at(id);
  if (app.stopped || app.versions.empty()) return;
  driver_.handle(catalog_.begin_rollout(id, rollouts_));
  agenda_.after(Duration::milliseconds(rollouts_.between(1, 15'000)), RolloutEnds{id});
}

// Of another one by then, it may be.
void Simulation::end_rollout(AppId app, Catalog::Outcome outcome) {
  for (const Event& event : catalog_.end_rollout(app, outcome)) {
    if (driver_.up()) driver_.handle(event);
  }
}

void Simulation::add_a_variant() {
  const AppId id{variants_.below(kApps) + 1};
  const DeployedApp& app = catalog_.apps().at(id);
  if (app.stopped || app.versions.empty()) return;
  driver_.handle(catalog_.add_variant(id));
  if (variants_.chance(500)) driver_.handle(catalog_.rescale(id));
}

// Its own pool, or one of those added to it.
std::optional<PoolId> Simulation::pool_for(FunctionId function) {
  const auto variants = catalog_.variants(function);
  if (variants.empty() || !variants_.chance(400)) return catalog_.current_pool(function);
  return variants[variants_.below(variants.size())];
}

void Simulation::on(const FunctionCalled& task) {
  if (!calling_) return;
  const Workload::Arrivals arrivals = workload_.draw(task.function);
  agenda_.after(arrivals.next, FunctionCalled{task.function});
  for (std::uint32_t i = 0; i < arrivals.count; ++i) call(task.function);
  if (jobs_.chance(40)) spawn(task.function);
}

// One call for later, or as many as a map has, of one caller.
void Simulation::spawn(FunctionId function) {
  const std::int64_t count = jobs_.chance(500) ? 1 : jobs_.between(2, 40);
  const KeyId caller{jobs_.below(4)};
  const bool expires = jobs_.chance(100);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t key = asked_.size() + 1;
    Job job{key, InputId{kFirstJob + key}, function, caller, {}, Time::never()};
    if (jobs_.chance(100)) job.priority = {static_cast<std::int8_t>(jobs_.between(-2, 2))};
    if (expires) job.expires = agenda_.now() + Duration::milliseconds(jobs_.between(1, 8'000));
    asked_.push_back(job);
    on(JobAsked{key});
    if (!jobs_.chance(60)) continue;
    agenda_.after(Duration::milliseconds(jobs_.between(1, 4'000)), CallerLeaves{job.input});
  }
}

// Until it is accepted, through crashes of the driver too.
void Simulation::on(const JobAsked& task) {
  if (driver_.on_job(asked_[task.key - 1]) || !calling_) return;
  agenda_.after(Duration::milliseconds(jobs_.between(50, 1'500)), task);
}

void Simulation::call(FunctionId function) {
  const auto pool = pool_for(function);
  if (!pool || !driver_.up()) return;
  const InputId input{next_input_++};
  InputArrived arrival{input, CallId{input.value}, *pool, workload_.caller()};
  arrival.priority = workload_.priority();
  if (workload_.expires()) arrival.expires = agenda_.now() + workload_.patience();
  driver_.handle(arrival);
  if (workload_.caller_leaves()) agenda_.after(workload_.patience(), CallerLeaves{input});
}

// Of a function of any app, or of any of its own app's: loops are wanted.
void Simulation::call_from(const CallMade& made) {
  const std::vector<FunctionId> functions = catalog_.functions();
  const FunctionId function = functions[calls_.below(calls_.chance(500) ? 3 : functions.size())];
  const auto pool = catalog_.current_pool(function);
  if (!pool) return driver_.on_call(made, std::nullopt);
  const InputId input{next_input_++};
  InputArrived call{input, CallId{input.value}, *pool};
  call.origin = Origin::running_input;
  call.parent = made.input;
  driver_.on_call(made, call);
  if (!calls_.chance(150)) return;
  agenda_.after(Duration::milliseconds(calls_.between(1, 2'000)), CallerLeaves{made.input});
}

}  // namespace

SimReport simulate(const SimOptions& options, const Driver::Trace& trace) {
  return Simulation(options, trace).run();
}

}  // namespace ember
