#include "sim/sim_node.h"

namespace ember {
namespace {

constexpr Duration kExitPath = Duration::milliseconds(400);  // at most, unless it hangs
constexpr std::int64_t kMostSent = 20'000'000;               // bytes at a time

// Between half and twice the typical time.
Duration vary(Random& random, Duration typical) {
  return Duration::microseconds(random.between(typical.us / 2, typical.us * 2));
}

// A third of all inputs, whatever else is drawn, but for calls for later.
bool is_streamed(InputId input) { return input.value < kFirstJob && input.value % 3 == 0; }

}  // namespace

SimNode::Container* SimNode::find(ContainerId id) {
  const auto found = containers_.find(id);
  return found == containers_.end() ? nullptr : &found->second;
}

SimNode::Container* SimNode::find_running(ContainerId id, InputId input, Attempt attempt) {
  Container* container = find(id);
  if (!container || container->stage == Stage::exiting) return nullptr;
  const auto found = container->inputs.find(input);
  return found != container->inputs.end() && found->second == attempt ? container : nullptr;
}

bool SimNode::change_a_device() {
  if (capacity_.devices.empty()) return false;
  constexpr DeviceState kStates[] = {DeviceState::available, DeviceState::in_use,
                                     DeviceState::cordoned};
  const std::uint64_t which = world_.faults.random().below(capacity_.devices.size());
  capacity_.devices[which].state = kStates[world_.faults.random().below(std::size(kStates))];
  return true;
}

void SimNode::mend_devices() {
  for (Device& device : capacity_.devices) device.state = DeviceState::available;
}

void SimNode::on(const StartContainer& command) {
  if (containers_.contains(command.container)) return;  // a second copy
  const bool over = over_.contains(command.container);
  if (over && exits_.contains(command.container)) return;
  if (over || world_.faults.strikes(&FaultRates::refused)) {
    over_.insert(command.container);
    world_.link.to_driver(id_, ContainerRefused{command.container});
    return;
  }
  check_promises(command);
  begin(command);
}

void SimNode::check_promises(const StartContainer& command) {
  const Resources& wanted = world_.catalog.pool(command.pool).spec.settings.resources;
  std::int64_t cpu = wanted.cpu_millicores;
  std::int64_t memory = wanted.memory_bytes;
  std::int64_t shared = wanted.gpu.share_bytes;
  for (const auto& [id, other] : containers_) {
    const Resources& held = world_.catalog.pool(other.facts.pool).spec.settings.resources;
    cpu += held.cpu_millicores;
    memory += held.memory_bytes;
    for (const DeviceId device : other.facts.devices) {
      for (const DeviceId asked : command.devices) {
        if (asked != device) continue;
        shared += held.gpu.share_bytes;
        if (wanted.gpu.is_share() && held.gpu.is_share()) continue;
        world_.findings.add("no device is held twice", device.text() + " is held by " + id.text() +
                                                           " on its node and given to " +
                                                           command.container.text());
      }
    }
  }
  for (const Device& device : capacity_.devices) {
    if (!wanted.gpu.is_share() || device.id != command.devices.front()) continue;
    if (shared > device.vram_bytes) {
      world_.findings.add("shares fit their device together",
                          command.container.text() + " does not fit on " + device.id.text());
    }
  }
  if (cpu > capacity_.cpu_millicores || memory > capacity_.memory_bytes) {
    world_.findings.add("no node is promised twice over",
                        command.container.text() + " does not fit on " + id_.text());
  }
}

void SimNode::begin(const StartContainer& command) {
  const Time now = world_.agenda.now();
  Container container;
  container.facts = {command.container, command.pool, command.devices, now, 0};
  containers_.emplace(command.container, std::move(container));
  world_.witness[command.container] = {command.pool, id_, command.devices, now, {}, LifeEnd::none};
  world_.link.to_driver(id_, ContainerStarted{command.container, now});
  plan_start(command.container, world_.catalog.pool(command.pool).behaviour);
}

void SimNode::plan_start(ContainerId id, const Behaviour& behaviour) {
  Random& random = world_.random;
  const Duration boot = vary(random, behaviour.boot);
  const Duration load = vary(random, behaviour.load);
  const auto plan = [&](Duration delay, StartStep step) {
    world_.agenda.after(delay, StartStepDue{id_, id, step});
  };
  std::uint64_t way = 0;  // of failing: to load, by crash in either phase, by hanging in either
  if (behaviour.broken) way = 1;
  if (world_.faults.strikes(&FaultRates::half_done)) way = random.below(5) + 1;
  if (way == 2) return plan(boot, StartStep::crashes);
  if (way == 3) return;
  plan(boot, StartStep::runner_connects);
  if (way == 4) return;
  plan(boot + load, way == 1   ? StartStep::load_fails
                    : way == 5 ? StartStep::crashes
                               : StartStep::module_loads);
}

void SimNode::on(const StartStepDue& due) {
  Container* container = find(due.container);
  if (!container || container->stage == Stage::exiting) return;
  switch (due.step) {
    case StartStep::runner_connects:
      container->stage = Stage::loading;
      world_.link.to_driver(id_, ContainerLoading{due.container});
      return;
    case StartStep::module_loads:
      container->stage = Stage::ready;
      if (world_.random.chance(300)) transmit(*container);
      world_.link.to_driver(id_, ContainerReady{due.container});
      return;
    case StartStep::load_fails:
      return end(due.container, ExitCause::load_failed);
    case StartStep::crashes:
      return end(due.container, ExitCause::crashed);
  }
}

void SimNode::on(const StopContainer& command) {
  Container* container = find(command.container);
  if (!container) {
    // It never began here, and now it never will.
    if (over_.insert(command.container).second) {
      world_.link.to_driver(id_, ContainerRefused{command.container});
    }
    return;
  }
  const Duration delay = Duration::microseconds(world_.random.between(200, kExitPath.us));
  if (command.mode == StopMode::kill) {
    container->stage = Stage::exiting;
    world_.agenda.after(Duration::microseconds(delay.us / 20), ExitDue{id_, command.container});
  } else if (container->stage != Stage::exiting) {
    container->stage = Stage::exiting;
    if (world_.faults.strikes(&FaultRates::hung_exit)) return;
    world_.agenda.after(delay, ExitDue{id_, command.container});
  }
}

void SimNode::on(const ExitDue& due) {
  if (find(due.container)) end(due.container, ExitCause::stopped);
}

void SimNode::on(const DispatchInput& command) {
  Container* container = find(command.container);
  if (!container || container->stage == Stage::exiting) return;
  if (!container->received.insert({command.input, command.attempt}).second) return;
  const std::size_t max_inputs =
      world_.catalog.pool(container->facts.pool).spec.settings.scaling.max_inputs;
  if (container->stage != Stage::ready) {
    world_.findings.add("inputs go to ready containers only",
                        command.input.text() + " came to " + command.container.text());
  }
  const bool in_batch = command.batch.first.value != 0;
  const bool joins =
      in_batch && container->batches.contains({command.batch.first, command.batch.attempt});
  const std::size_t taken = in_batch ? container->batches.size() : container->inputs.size();
  if (!joins && taken >= max_inputs) {
    world_.findings.add("no container runs more than max_inputs",
                        command.container.text() + " got " + command.input.text() + " with " +
                            std::to_string(taken) + " under way");
  }
  in_batch ? join_batch(*container, command) : plan_execution(*container, command);
}

// Its inputs may come in any order, and a cancellation before the last of them.
void SimNode::join_batch(Container& container, const DispatchInput& command) {
  const BatchPlace& place = command.batch;
  Batch& batch = container.batches[{place.first, place.attempt}];
  batch.size = place.size;
  batch.inputs.emplace_back(command.input, command.attempt);
  container.inputs[command.input] = command.attempt;
  if (batch.inputs.size() < batch.size) return;
  if (batch.cancelled) return plan_cancellation({place.first, place.attempt, command.container});
  plan_execution(container, {place.first, place.attempt, command.container, place});
}

// Before or after its end, or never where the container ends first.
void SimNode::plan_first_item(const Container& container, const DispatchInput& input) {
  const Duration typical = world_.catalog.pool(container.facts.pool).behaviour.execution;
  const Duration until{typical.us / 4 * static_cast<std::int64_t>(input.input.value % 5 + 1)};
  world_.agenda.after(until, FirstItemDue{id_, input.container, input.input, input.attempt});
}

void SimNode::on(const FirstItemDue& due) {
  const Container* container = find_running(due.container, due.input, due.attempt);
  if (!container || container->stale.contains(due.input)) return;
  world_.link.to_driver(id_, InputPinned{due.input, due.attempt, due.container});
}

void SimNode::plan_execution(Container& container, const DispatchInput& input) {
  const DeployedPool& pool = world_.catalog.pool(container.facts.pool);
  Random& random = world_.random;
  container.inputs[input.input] = input.attempt;
  if (is_streamed(input.input) && !input.batch.first) plan_first_item(container, input);
  Duration duration = vary(random, pool.behaviour.execution);
  ExecutionEnd end = ExecutionEnd::result;
  if (random.chance(pool.behaviour.failing)) end = ExecutionEnd::user_failure;
  if (world_.faults.strikes(&FaultRates::misbehaved)) {
    switch (random.below(4)) {
      case 0:
        end = ExecutionEnd::crash;
        break;
      case 1:
        end = pool.spec.settings.resources.gpu.is_share() && random.chance(500)
                  ? ExecutionEnd::over_gpu_share
                  : ExecutionEnd::out_of_memory;
        break;
      case 2:
        duration = pool.spec.settings.timeout * 3;
        break;
      default:
        return;  // never ends, and is deaf to cancellation
    }
  }
  if (world_.calling > 0 && world_.calls.chance(world_.calling)) {
    const Duration half{duration.us / 2};
    world_.agenda.after(half, CallDue{id_, input.container, input.input, input.attempt, half, end});
    return;
  }
  world_.agenda.after(duration,
                      ExecutionDue{id_, input.container, input.input, input.attempt, end});
}

void SimNode::on(const CallDue& due) {
  Container* container = find_running(due.container, due.input, due.attempt);
  if (!container) return;
  container->awaiting[due.input] = due;
  if (container->stale.contains(due.input)) return go_on(*container, due.input);
  world_.link.to_driver(id_, CallMade{due.container, due.input, due.attempt});
}

void SimNode::on(const CallEnded& command) {
  Container* container = find_running(command.container, command.input, command.attempt);
  if (container) go_on(*container, command.input);
}

void SimNode::go_on(Container& container, InputId input) {
  const auto call = container.awaiting.extract(input);
  if (call.empty()) return;
  const CallDue& due = call.mapped();
  world_.agenda.after(due.rest, ExecutionDue{id_, due.container, input, due.attempt, due.end});
}

void SimNode::on(const CancelInput& command) {
  Container* container = find(command.container);
  if (!container || container->stage == Stage::exiting) return;
  const auto found = container->inputs.find(command.input);
  if (found == container->inputs.end() || found->second != command.attempt) return;
  if (world_.faults.strikes(&FaultRates::misbehaved)) return;  // user code catches it and goes on
  const auto batch = container->batches.find({command.input, command.attempt});
  if (batch != container->batches.end() && batch->second.inputs.size() < batch->second.size) {
    batch->second.cancelled = true;
    return;
  }
  plan_cancellation(command);
}

void SimNode::plan_cancellation(const CancelInput& command) {
  const Duration unwinding = Duration::microseconds(world_.random.between(100, 50'000));
  world_.agenda.after(unwinding, ExecutionDue{id_, command.container, command.input,
                                              command.attempt, ExecutionEnd::cancelled});
}

void SimNode::on(const ExecutionDue& due) {
  Container* container = find(due.container);
  if (!container) return;
  const auto found = container->inputs.find(due.input);
  if (found == container->inputs.end() || found->second != due.attempt) return;
  if (due.end == ExecutionEnd::crash) return end(due.container, ExitCause::crashed);
  if (due.end == ExecutionEnd::out_of_memory) return end(due.container, ExitCause::out_of_memory);
  if (due.end == ExecutionEnd::over_gpu_share) {
    return end(due.container, ExitCause::over_gpu_share);
  }
  if (world_.random.chance(700)) transmit(*container);
  if (container->batches.contains({due.input, due.attempt})) {
    finish_batch(*container, due);
  } else {
    finish(*container, due);
  }
  if (container->owes_ready && container->inputs.empty() && container->stage == Stage::ready) {
    container->owes_ready = false;
    world_.link.to_driver(id_, ContainerReady{due.container});
  }
}

void SimNode::finish(Container& container, const ExecutionDue& due) {
  container.inputs.erase(due.input);
  container.awaiting.erase(due.input);
  if (container.stale.erase(due.input) > 0) return;
  const InputOutcome outcome = due.end == ExecutionEnd::result         ? InputOutcome::succeeded
                               : due.end == ExecutionEnd::user_failure ? InputOutcome::failed
                                                                       : InputOutcome::cancelled;
  world_.link.to_driver(id_, InputFinished{due.input, due.attempt, due.container, outcome});
}

// What the function raises is the outcome of all; some fail by themselves.
void SimNode::finish_batch(Container& container, const ExecutionDue& due) {
  const auto found = container.batches.find({due.input, due.attempt});
  const Batch batch = std::move(found->second);
  container.batches.erase(found);
  const std::uint32_t failing = world_.catalog.pool(container.facts.pool).behaviour.failing;
  for (const auto& [input, attempt] : batch.inputs) {
    ExecutionDue one = due;
    one.input = input;
    one.attempt = attempt;
    const bool fails = due.end == ExecutionEnd::result && world_.random.chance(failing);
    if (fails) one.end = ExecutionEnd::user_failure;
    finish(container, one);
  }
}

void SimNode::transmit(Container& container) {
  NodeContainerFacts& facts = container.facts;
  facts.egress_bytes += world_.random.between(1, kMostSent);
  world_.witness[facts.container].egress_bytes = facts.egress_bytes;
  if (!world_.random.chance(600)) return;
  world_.link.to_driver(id_, EgressReported{facts.container, facts.egress_bytes});
}

// What its last moments send is in the notice.
void SimNode::end(ContainerId id, ExitCause cause) {
  const auto found = containers_.find(id);
  if (world_.random.chance(500)) transmit(found->second);
  const Time now = world_.agenda.now();
  const ExitNotice notice{found->second.facts, now, cause};
  containers_.erase(found);
  over_.insert(id);
  exits_.emplace(id, notice);
  world_.witness[id].ended = now;
  world_.witness[id].end = LifeEnd::seen;
  world_.link.to_driver(id_, notice);
}

void SimNode::fence() {
  while (!containers_.empty()) end(containers_.begin()->first, ExitCause::crashed);
}

void SimNode::reboot() {
  for (const auto& [id, container] : containers_) {
    world_.witness[id].ended = world_.agenda.now();
    world_.witness[id].end = LifeEnd::vanished;
  }
  for (const auto& [id, notice] : exits_) world_.witness[id].end = LifeEnd::vanished;
  containers_.clear();
  exits_.clear();
  over_.clear();
}

std::vector<NodeContainerFacts> SimNode::survivors() const {
  std::vector<NodeContainerFacts> facts;
  for (const auto& [id, container] : containers_) facts.push_back(container.facts);
  return facts;
}

std::vector<ExitNotice> SimNode::unacknowledged() const {
  std::vector<ExitNotice> notices;
  for (const auto& [id, notice] : exits_) notices.push_back(notice);
  return notices;
}

// The rest of them never comes.
void SimNode::forget_begun_batches(Container& container) {
  std::erase_if(container.batches, [&](const auto& one) {
    const Batch& batch = one.second;
    if (batch.inputs.size() == batch.size) return false;
    for (const auto& [input, attempt] : batch.inputs) container.inputs.erase(input);
    return true;
  });
}

void SimNode::greet_driver() {
  for (auto& [id, container] : containers_) {
    // What an earlier driver was asked for never comes.
    while (!container.awaiting.empty()) go_on(container, container.awaiting.begin()->first);
    forget_begun_batches(container);
    for (const auto& [input, attempt] : container.inputs) container.stale.insert(input);
    container.received.clear();
    if (container.stage == Stage::loading) world_.link.to_driver(id_, ContainerLoading{id});
    if (container.stage != Stage::ready) continue;
    container.owes_ready = !container.inputs.empty();
    if (!container.owes_ready) world_.link.to_driver(id_, ContainerReady{id});
  }
}

}  // namespace ember
