#include "control/containers.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>

#include "control/checkpoints.h"
#include "control/container_spec.h"
#include "control/error_body.h"
#include "control/failure_text.h"

namespace ember {
namespace {

constexpr Duration kExitPathGrace = Duration::seconds(10);  // for the user's own clean-up
constexpr Duration kTermGrace = Duration::seconds(2);       // from SIGTERM to SIGKILL
constexpr Duration kKillNow = Duration{0};
constexpr std::int64_t kUnaskedFrameBytes = 64;  // what one costs beside its bytes
constexpr std::int64_t kPausedAtFullRate = 8;    // more of them share what these may send
constexpr Duration kLeastPause = Duration::milliseconds(5);
constexpr Duration kLongestPause = Duration::milliseconds(500);
constexpr std::size_t kGapBytes = 2 * sizeof(std::uint64_t);
constexpr std::uint64_t kMostDropped = 1ull << 48;    // what one gap is believed to be
constexpr Duration kExitNews = Duration::seconds(5);  // from a broken connection to the exit

Duration between(Time from, Time to) { return from.us && to.us ? to - from : Duration{0}; }

}  // namespace

Duration Container::boot() const { return between(started, loading); }
Duration Container::load() const { return between(loading, ready); }

StartSteps Container::steps(Time arrived) const {
  const std::int64_t boot_us = boot().us;
  const std::int64_t interpreter_us = std::clamp<std::int64_t>(interpreter.us, 0, boot_us);
  const std::int64_t imports_us = std::clamp<std::int64_t>(imports.us, 0, boot_us - interpreter_us);
  return {.placed_us = std::max<std::int64_t>(0, between(arrived, started).us),
          .sandbox_us = boot_us - interpreter_us - imports_us,
          .interpreter_us = interpreter_us,
          .imports_us = imports_us,
          .load_us = load().us};
}

Containers::Containers(boost::asio::io_context& loop, EngineDriver& driver, NodeClient& node,
                       NodeFleet& fleet, AppCatalog& catalog, SourceStore& sources,
                       const Secrets& secrets, Biller& biller, LogBook& logs, Strangers& strangers,
                       VolumeMounts& volumes)
    : loop_(loop),
      driver_(driver),
      node_(node),
      fleet_(fleet),
      catalog_(catalog),
      sources_(sources),
      secrets_(secrets),
      biller_(biller),
      logs_(logs),
      strangers_(strangers),
      volumes_(volumes) {}

Container& Containers::add(ContainerId id, FunctionPtr function, NodeId node,
                           std::vector<DeviceId> devices) {
  auto container = std::make_unique<Container>();
  container->id = id;
  container->tariff = biller_.tariff(function->spec.settings.resources, devices, fleet_);
  container->function = std::move(function);
  container->node = node;
  container->devices = std::move(devices);
  container->placed = driver_.now();
  return *(containers_[id] = std::move(container));
}

Container* Containers::find(ContainerId id) {
  const auto found = containers_.find(id);
  return found == containers_.end() ? nullptr : found->second.get();
}

const Container* Containers::find(ContainerId id) const {
  return const_cast<Containers*>(this)->find(id);
}

Error Containers::no_such_container(ContainerId id) {
  return {ErrorCode::not_found,
          "no container " + id.text() + " runs; `ember container list` shows those that do"};
}

// A line of our own in the container's log.
void Containers::note(const Container& container, std::string text) {
  const Function& function = *container.function;
  logs_.append({driver_.now(),
                function.app_name,
                function.spec.name,
                container.id,
                {},
                "system",
                std::move(text)});
}

void Containers::start(const StartContainer& action) {
  FunctionPtr function = catalog_.by_pool(action.pool);
  EMBER_ASSERT(function);
  const std::string source = function->source;
  Container& container = add(action.container, std::move(function), action.node, action.devices);
  container.function->starts.add(container.id, container.placed);
  auto directory = sources_.open(source);
  if (!directory) {
    const Error& error = directory.error();
    const bool gone = error.code == ErrorCode::not_found;
    return fail_start(container, error.message, gone ? Refusal::lasting : Refusal::may_pass);
  }
  const FunctionSpec& wanted = container.function->spec;
  if (auto given = secrets_.check(wanted.secrets, wanted.name); !given) {
    return fail_start(container, given.error().message, Refusal::lasting);
  }
  std::vector<VolumeMount> mounts = wanted.volumes;
  if (wanted.checkpoints) mounts.push_back(checkpoint_mount(*container.function));
  auto volumes = volumes_.mount(container.id, mounts);
  if (!volumes) {
    const Error& error = volumes.error();
    const bool passes = error.code == ErrorCode::storage_failed;
    return fail_start(container, error.message, passes ? Refusal::may_pass : Refusal::lasting);
  }
  ContainerSpec spec = container_spec(container.id, *container.function, action.devices);
  spec.volumes = std::move(volumes).value();
  node_.start(std::move(spec), std::move(directory).value());
}

// The engine's backoff keeps the warnings few.
void Containers::fail_start(Container& container, const std::string& why, Refusal refusal) {
  const Function& function = *container.function;
  spdlog::warn("{}.{}: {} was not started: {}", function.app_name, function.spec.name,
               container.id.text(), why);
  note(container, "not started: " + why);
  container.function->last_start_failure = {why, {}};
  driver_.handle(ContainerRefused{container.id, refusal});
}

void Containers::kill(ContainerId id) { node_.stop(id, kKillNow); }

void Containers::stop(const StopContainer& action) {
  Container* container = find(action.container);
  if (!container) return kill(action.container);
  container->stop_requested = true;
  if (action.reason.code == ReasonCode::startup_timed_out) {
    container->function->last_start_failure = {action.reason.text(), {}};
  }
  if (action.mode == StopMode::kill) return kill(action.container);
  if (!container->session) return node_.stop(action.container, kTermGrace);
  container->session->link().send({0, FrameType::stop, 0, 0, 0}, {}, {});
  driver_.after(kExitPathGrace, [this, id = action.container] {
    const Container* still = find(id);
    if (still && !still->exited) node_.stop(id, kTermGrace);
  });
}

void Containers::release(const ReleaseContainer& action) {
  const auto found = containers_.find(action.container);
  if (found == containers_.end()) return;
  const std::unique_ptr<Container> container = std::move(found->second);
  containers_.erase(found);
  container->function->starts.remove(container->id);
  logs_.forget(container->id);
  if (listener_) listener_->on_runner_gone(container->id);
  if (!container->started.us) return volumes_.ended(container->id);
  const bool seen = container->exited;
  const std::string why = seen ? describe_exit(container->exit) : "its node was lost";
  const Time ended = seen ? container->exit.at : driver_.now();
  const Function& function = *container->function;
  settling_.insert(container->id);
  biller_.container_ended({container->id, function.pool, function.app, function.spec.name,
                           container->started, ended, why},
                          [this, id = container->id, seen] {
                            settling_.erase(id);
                            if (seen) node_.acknowledge_exit(id);
                          });
}

void Containers::on_started(ContainerId id, Time at) {
  Container* container = find(id);
  if (!container) return kill(id);  // nobody waits for it any more
  if (container->started.us) return;
  container->started = std::min(at, driver_.now());
  const Function& function = *container->function;
  biller_.container_started(
      {id, function.pool, function.app, function.spec.name, container->started, Time{}, ""});
  driver_.handle(ContainerStarted{id, container->started});
}

void Containers::on_refused(ContainerId id, const std::string& why) {
  Container* container = find(id);
  if (container && !container->started.us) fail_start(*container, why, Refusal::may_pass);
}

void Containers::on_egress(ContainerId id, std::int64_t total_bytes) {
  if (find(id)) driver_.handle(EgressReported{id, total_bytes});
}

void Containers::on_exited(ContainerExit exit) {
  volumes_.ended(exit.container);
  Container* container = find(exit.container);
  if (!container) return late_exit(std::move(exit));
  if (!container->exited) finish(*container, std::move(exit));
}

// The container may be gone afterwards.
void Containers::finish(Container& container, ContainerExit exit) {
  container.exited = true;
  container.exit = std::move(exit);
  volumes_.ended(container.id);
  container.function->starts.remove(container.id);
  if (!container.started.us) on_started(container.id, container.exit.started);
  const ExitCause cause =
      exit_cause(container.exit,
                 {.asked = container.stop_requested, .load_failed = !container.load_error.empty()});
  if (!container.exit.last_output.empty()) note(container, container.exit.last_output);
  if (cause != ExitCause::stopped || !container.exit.fault.empty()) {
    note(container, "ended: " + describe_exit(container.exit));
  }
  if (cause != ExitCause::stopped) {
    container.function->last_start_failure = {describe_exit(container.exit), container.load_error};
  }
  driver_.handle(ContainerExited{container.id, std::min(container.exit.at, driver_.now()), cause,
                                 container.exit.egress_bytes, container.exit.gpu_used_bytes});
}

void Containers::on_runner(ContainerId id, UniqueFd socket) {
  Container* container = find(id);
  if (!container || container->exited) return;
  const auto view = driver_.engine().container(id);
  if (container->met_runner && view && view->inputs > 0) {
    // What its inputs answered went to the connection that broke: they begin anew elsewhere.
    note(*container, "ended: its runner lost the connection while it ran inputs");
    return kill(id);
  }
  container->met_runner = true;
  container->session = std::make_unique<RunnerSession>(
      id, make_runner_link(loop_, std::move(socket), bodies_), *this);
  container->session->start();
  if (container->paused) container->session->link().pause();
}

void Containers::send(ContainerId id, FrameHeader header, std::string_view prefix, std::string body,
                      UniqueFd file) {
  Container* container = find(id);
  if (!container || !container->session) return;
  container->session->link().send(header, prefix, std::move(body), std::move(file));
}

void Containers::on_runner_frame(ContainerId id, const FrameHeader& header, std::string& body) {
  Container* found = find(id);
  if (!found) return;
  Container& container = *found;
  charge(container, header);
  switch (header.type) {
    case FrameType::result:
    case FrameType::error:
      return listener_->on_reply(container, header, body);
    case FrameType::chunk:
      if (!listener_->on_item(container, header, body)) charge_unasked(container, header.length);
      return;
    case FrameType::credit:
      return listener_->on_nested_credit(container, header, body);
    case FrameType::call_cancel:
      return listener_->on_nested_cancel(container, header);
    case FrameType::room:
      return listener_->on_room(container, header, body);
    case FrameType::log:
      return on_log_frame(container, header, body);
    case FrameType::call:
      return listener_->on_nested_call(container, header, body);
    case FrameType::progress:
      return listener_->on_progress(container, header, body);
    case FrameType::volume:
      return listener_->on_volume_request(container, header, body);
    case FrameType::variant:
      return listener_->on_variant_request(container, header, body);
    case FrameType::shared:
      return listener_->on_shared_request(container, header, body);
    case FrameType::hello:
      return on_hello_frame(container, body);
    case FrameType::ready:
      return on_ready_frame(container);
    case FrameType::failed:
      mend_error_body(body);
      container.load_error = std::move(body);
      return;
    case FrameType::ping:
      container.session->link().send({0, FrameType::pong, 0, 0, 0}, {}, {});
      return;
    default:
      return;  // a pong, or what only we may say
  }
}

void Containers::on_hello_frame(Container& container, const std::string& body) {
  const auto hello = parse_json(body, "hello", 64u << 10);
  const JsonValue document = hello.ok() ? *hello : JsonValue();
  Fields fields(document, "");
  if (fields.integer_or("protocol", 0) != kRunnerProtocolVersion) {
    note(container, "ended: its runner speaks another protocol than this server");
    return kill(container.id);
  }
  if (fields.text_or("state", "") != "loading") return;
  if (!container.loading.us) container.loading = driver_.now();
  if (const JsonValue* timeline = fields.object("timeline_us")) {
    Fields steps(*timeline, "timeline_us.");
    container.interpreter = {steps.integer_or("interpreter", 0)};
    container.imports = {steps.integer_or("imports", 0)};
  }
  driver_.handle(ContainerLoading{container.id});
  if (!container.function->spec.secrets.empty()) send_secrets(container);
}

// By its own socket alone: neither the node nor a disk sees them.
void Containers::send_secrets(Container& container) {
  auto body = secrets_.body_for(container.function->spec.secrets);
  if (body) {
    return container.session->link().send({0, FrameType::secrets, 0, 0, 0}, {}, *std::move(body));
  }
  note(container, "ended: " + body.error().message);
  container.load_error = to_error_body({body.error()});
  kill(container.id);
}

void Containers::on_ready_frame(Container& container) {
  if (!container.ready.us) {
    container.ready = driver_.now();
    container.function->starts.remove(container.id);
    if (!container.adopted) {
      FunctionLine& line = *container.function->line;
      line.stats.add_start(between(container.started, container.ready));
      line.usual_start.add(between(container.placed, container.ready));
    }
  }
  driver_.handle(ContainerReady{container.id});
  if (listener_) listener_->on_ready();
}

void Containers::on_log_frame(Container& container, const FrameHeader& header, std::string& body) {
  if (body.empty()) return;
  const Function& function = *container.function;
  LogLine line{driver_.now(), function.app_name,     function.spec.name,
               container.id,  CallId{header.stream}, body[0] == 2 ? "stderr" : "stdout",
               body.substr(1)};
  if (body[0] != 0) {
    if (line.text.ends_with('\n')) line.text.pop_back();
    return logs_.append(std::move(line));
  }
  DroppedLogs dropped;
  if (line.text.size() != kGapBytes) return;
  std::memcpy(&dropped.lines, line.text.data(), sizeof dropped.lines);
  std::memcpy(&dropped.bytes, line.text.data() + sizeof dropped.lines, sizeof dropped.bytes);
  dropped.lines = std::min(dropped.lines, kMostDropped);
  dropped.bytes = std::min(dropped.bytes, kMostDropped);
  if (dropped) logs_.append_gap(std::move(line), dropped);
}

// One that sends more than it may, or does not read its answers, is not read for a while: what it
// sends next waits in its own container, and costs the others nothing.
void Containers::charge(Container& container, const FrameHeader& header) {
  const FrameType type = header.type;
  const bool asked = type == FrameType::result || type == FrameType::error ||
                     type == FrameType::call || type == FrameType::volume ||
                     type == FrameType::variant || type == FrameType::shared ||
                     type == FrameType::chunk;
  if (!asked) charge_unasked(container, header.length);
  if (container.session->link().bytes_queued() > kMostUnreadBytes) pause(container, kLeastPause);
}

void Containers::charge_unasked(Container& container, std::uint32_t bytes) {
  pause(container, container.unasked.take(bytes + kUnaskedFrameBytes, driver_.now()));
}

void Containers::pause(Container& container, Duration debt) {
  if (debt.us == 0 || container.paused || !container.session) return;
  container.paused = true;
  container.session->link().pause();
  const std::int64_t sharers = ++paused_ / kPausedAtFullRate + 1;
  resume_after(container.id, std::max(debt * sharers, kLeastPause));
}

void Containers::resume_after(ContainerId id, Duration pause) {
  driver_.after(pause, [this, id, pause] {
    Container* still = find(id);
    const bool reads =
        !still || !still->session || still->session->link().bytes_queued() <= kMostUnreadBytes;
    if (!reads) return resume_after(id, std::min(pause * 2, kLongestPause));
    --paused_;
    if (!still) return;
    still->paused = false;
    if (still->session) still->session->link().resume();
  });
}

void Containers::break_off(const Container& container, const std::string& why) {
  note(container, "ended: " + why);
  kill(container.id);
}

// A container's end closes its socket first; where no end follows, the connection was at fault.
void Containers::on_runner_closed(ContainerId id, std::string_view why) {
  Container* container = find(id);
  if (!container) return;
  container->session.reset();
  listener_->on_runner_gone(id);
  driver_.after(kExitNews, [this, id, text = std::string(why)] {
    const Container* still = find(id);
    if (!still || still->exited || still->session || still->stop_requested) return;
    note(*still, "ended: the connection to its runner broke: " + text);
    kill(id);
  });
}

}  // namespace ember
