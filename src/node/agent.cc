#include "node/agent.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <spdlog/spdlog.h>
#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "base/wall_clock.h"
#include "node/bundle.h"
#include "node/container.h"
#include "node/container_processes.h"
#include "node/devices.h"
#include "node/execs.h"
#include "node/image_store.h"
#include "node/machine.h"
#include "node/message_channel.h"
#include "node/node_directory.h"
#include "node/node_messages.h"
#include "node/runner_env.h"
#include "node/share_watch.h"
#include "node/stack_dump.h"
#include "node/unix_socket.h"
#include "node/uv.h"
#include "node/volume_directories.h"

namespace ember {
namespace {

using boost::asio::posix::stream_descriptor;

constexpr std::size_t kMaxContainers = kFirstBuildSlot;
constexpr std::size_t kMaxFunctionJsonBytes = 256 << 10;
constexpr std::size_t kMaxLabelsBytes = 64 << 10;
constexpr std::chrono::milliseconds kTick{250};
constexpr int kTicksPerEgressReport = 8;
constexpr int kTicksPerLookForRoom = 4;
constexpr Duration kEndGrace = Duration::seconds(1);

class NodeAgent final : public Agent,
                        private MessageObserver,
                        private ContainerOwner,
                        private ExecOwner {
 public:
  NodeAgent(boost::asio::io_context& loop, const NodeOptions& options, NodeDirectory directory)
      : loop_(loop),
        options_(options),
        directory_(std::move(directory)),
        processes_(loop),
        machine_(probe_machine(loop, processes_, options_, directory_)),
        leases_(machine_.capacity.devices),
        images_(loop, processes_,
                {.node_directory = directory_.path,
                 .uv = find_program(options_.uv).value_or(""),
                 .sandboxes = machine_.builds.get()}),
        execs_(loop, processes_, directory_.path + "/execs", *this),
        listener_(loop),
        tick_(loop) {}

  // A socket that is left says that the node was killed and could not end its helpers.
  ~NodeAgent() override {
    if (listener_.is_open()) ::unlink(directory_.socket_path().c_str());
  }

  Result<> begin() {
    if (machine_.isolation == nullptr) {
      return {ErrorCode::unavailable, machine_.refusal};
    }
    take_over();
    auto listener = listen_unix(directory_.socket_path(), 0600);
    if (!listener.ok()) return std::move(listener).error();
    if (::geteuid() == 0 && options_.driver_uid != 0 &&
        ::chown(directory_.socket_path().c_str(), options_.driver_uid, 0) != 0) {
      return {ErrorCode::unavailable, std::string("chown node.sock: ") + std::strerror(errno)};
    }
    listener_.assign(listener->release());
    wait_for_drivers();
    watch_devices();
    tick();
    return Ok{};
  }

  void end_containers(std::function<void()> done) override {
    all_ended_ = std::move(done);
    for (const auto& [id, container] : containers_) container->stop(kEndGrace);
    if (containers_.empty()) all_ended();
  }

 private:
  // --- drivers: the newest that says hello is the one ---

  void wait_for_drivers() {
    listener_.async_wait(stream_descriptor::wait_read, [this](auto error) {
      if (error) return;
      while (UniqueFd socket = accept_one(listener_.native_handle())) consider(std::move(socket));
      wait_for_drivers();
    });
  }

  void consider(UniqueFd socket) {
    const uid_t uid = peer_of(socket.get()).uid;
    if (uid != 0 && uid != ::geteuid() && uid != options_.driver_uid) {
      spdlog::warn("a process of user {} may not drive this node", uid);
      return;
    }
    forget_driver();
    driver_uid_ = uid;
    driver_ = make_message_channel(loop_, std::move(socket));
    driver_->start(this);
  }

  void on_channel_closed(std::string why) override {
    spdlog::info("the driver has gone: {}", why);
    forget_driver();
  }

  void on_message(std::string_view json, UniqueFd file) override {
    auto message = decode_driver_message(json);
    if (!message.ok()) return drop_driver(message.error().message);
    const auto* hello = std::get_if<DriverHello>(&*message);
    if (hello == nullptr && !driver_said_hello_) return drop_driver("it did not say hello first");
    if (hello != nullptr && hello->protocol != kNodeProtocolVersion) {
      return drop_driver("it speaks version " + std::to_string(hello->protocol) +
                         " of the protocol, this node " + std::to_string(kNodeProtocolVersion));
    }
    std::visit([&](auto& m) { take(m, std::move(file)); }, *message);
  }

  void drop_driver(const std::string& why) {
    spdlog::warn("the driver is sent away: {}", why);
    forget_driver();
  }

  // What was run on its word is nobody's any more.
  void forget_driver() {
    driver_.reset();
    driver_said_hello_ = false;
    credentials_ = {};
    execs_.end_all();
  }

  void tell(const NodeMessage& message, UniqueFd file = {}) {
    if (driver_ && driver_said_hello_) driver_->send(encode(message), std::move(file));
  }

  void take(DriverHello&, UniqueFd volumes) {
    driver_said_hello_ = true;
    volumes_ = std::move(volumes);
    NodeHello hello{.name = machine_.name,
                    .node = directory_.node,
                    .capacity = machine_.capacity,
                    .isolation = std::string(machine_.isolation->name()),
                    .no_gvisor = machine_.no_gvisor,
                    .network = machine_.network,
                    .missing = machine_.missing,
                    .containers = {}};
    for (const auto& [id, container] : containers_) {
      const ContainerMeta& record = container->record();
      hello.containers.push_back(
          {id, record.labels_json, record.devices, record.started, container->egress_bytes()});
    }
    tell(hello);
    for (const auto& [id, exit] : exits_) tell(exit);
    for (const auto& [id, container] : containers_) on_container_runner(id);
  }

  // --- containers ---

  void take(StartRequest& message, UniqueFd source) {
    const ContainerId id = message.spec.container;
    if (auto started = start_container(std::move(message.spec), std::move(source)); !started.ok()) {
      leases_.give_back(id);
      refuse(id, started.error().message);
    }
  }

  void refuse(ContainerId id, std::string why) {
    lacks_room_ = lacks_room_ || !directory_.has_room();
    tell(RefusedNotice{id, std::move(why)});
  }

  Result<> start_container(ContainerSpec spec, UniqueFd source) {
    const ContainerId id = spec.container;
    if (containers_.contains(id) || exits_.contains(id)) {
      // A repeated order: the container stands as it is.
      return Ok{};
    }
    if (all_ended_) return {ErrorCode::unavailable, "the node is ending"};
    if (auto fine = check(spec); !fine.ok()) return fine;
    auto image = images_.find(spec.image);
    if (!image) return {ErrorCode::not_found, "its image has not been built on this node"};
    if (auto taken = leases_.take(id, spec.devices, spec.resources.gpu.share_bytes); !taken.ok())
      return taken;
    auto isolation = machine_.isolation_for(spec.sandbox.isolation);
    if (!isolation.ok()) return std::move(isolation).error();
    auto gpus = machine_.grant(spec.devices);
    if (!gpus.ok()) return std::move(gpus).error();
    auto volumes = open_volumes(spec.volumes);
    if (!volumes.ok()) return std::move(volumes).error();
    ContainerMeta record{.container = id,
                         .labels_json = std::move(spec.labels_json),
                         .devices = std::move(spec.devices),
                         .started = wall_clock(),
                         .resources = spec.resources,
                         .isolation = std::string((*isolation)->name()),
                         .slot = free_slot(),
                         .layers = image->layers};
    const ContainerFiles files(directory_.path, id);
    if (auto created = files.create(record, spec.function_json); !created.ok()) {
      files.remove();
      return created;
    }
    NodeContainer& container = add(**isolation, record, files);
    std::vector<std::string> argv = runner_argv(*image);
    container.launch({.record = std::move(record),
                      .files = files,
                      .env = std::move(spec.env),
                      .image = std::move(*image),
                      .argv = std::move(argv),
                      .gpus = std::move(*gpus),
                      .sandbox = std::move(spec.sandbox),
                      .volumes = std::move(*volumes),
                      .volumes_owner = driver_uid_},
                     std::move(source));
    return Ok{};
  }

  // Beneath the driver's own directory alone, and through no link.
  Result<std::vector<VolumeDirectories>> open_volumes(
      const std::vector<VolumeOverlay>& volumes) const {
    if (volumes.empty()) return std::vector<VolumeDirectories>{};
    if (!volumes_ || machine_.isolation->name() != "container") {
      return {ErrorCode::unavailable, "volumes take containers, and a driver that has some"};
    }
    std::vector<VolumeDirectories> all;
    for (const VolumeOverlay& volume : volumes) {
      VolumeDirectories& one = all.emplace_back();
      one.path = volume.path;
      for (const std::string& lower : volume.lowers) {
        one.lowers.push_back(open_directory_beneath(volumes_.get(), lower));
        if (!one.lowers.back()) return cannot_open(lower);
      }
      if (volume.upper.empty()) continue;
      one.upper = open_directory_beneath(volumes_.get(), volume.upper);
      if (!one.upper) return cannot_open(volume.upper);
    }
    return all;
  }

  static Error cannot_open(const std::string& path) {
    return {ErrorCode::unavailable, "volumes: " + path + ": " + std::strerror(errno)};
  }

  Result<> check(const ContainerSpec& spec) const {
    if (containers_.size() >= kMaxContainers) {
      return {ErrorCode::resource_exhausted,
              "the node holds " + std::to_string(kMaxContainers) + " containers, its limit"};
    }
    if (spec.function_json.size() > kMaxFunctionJsonBytes ||
        spec.labels_json.size() > kMaxLabelsBytes) {
      return {ErrorCode::invalid_argument, "function or labels are too long"};
    }
    if (spec.resources.cpu_millicores <= 0 || spec.resources.memory_bytes <= 0) {
      return {ErrorCode::invalid_argument, "cpu and memory must be positive"};
    }
    if (auto fine = check_env(spec.env); !fine.ok()) return fine;
    if (auto fine = check_image(spec.image); !fine.ok()) return fine;
    if (auto fine = check_volumes(spec.volumes); !fine.ok()) return fine;
    return check_room(spec.resources);
  }

  // The node is the authority on what it has left.
  Result<> check_room(const Resources& wanted) const {
    // What is left, rather than what would be taken: a wish may be as large as a number gets.
    std::int64_t cpu_left = machine_.capacity.cpu_millicores;
    std::int64_t memory_left = machine_.capacity.memory_bytes;
    for (const auto& [id, container] : containers_) {
      cpu_left -= container->record().resources.cpu_millicores;
      memory_left -= container->record().resources.memory_bytes;
    }
    if (wanted.cpu_millicores > cpu_left) {
      return {ErrorCode::resource_exhausted, "the node has not so much CPU left"};
    }
    if (wanted.memory_bytes > memory_left) {
      return {ErrorCode::resource_exhausted, "the node has not so much memory left"};
    }
    return Ok{};
  }

  std::uint32_t free_slot() const {
    std::set<std::uint32_t> held;
    for (const auto& [id, container] : containers_) held.insert(container->record().slot);
    std::uint32_t slot = 0;
    while (held.contains(slot)) ++slot;
    return slot;
  }

  NodeContainer& add(Isolation& isolation, ContainerMeta record, ContainerFiles files) {
    const ContainerId id = record.container;
    auto container =
        std::make_unique<NodeContainer>(ContainerTools{loop_, processes_, *this, &wall_clock},
                                        isolation, std::move(record), std::move(files));
    return *(containers_[id] = std::move(container));
  }

  // What an earlier life of this node left: living containers, ends not yet acknowledged, debris.
  void take_over() {
    const Time last_seen = directory_.last_seen().value_or(wall_clock());
    for (const ContainerId id : containers_on_disk(directory_.path)) {
      const ContainerFiles files(directory_.path, id);
      if (auto exit = files.read_exit()) {
        files.remove_all_but_exit();
        exits_[id] = std::move(*exit);
        continue;
      }
      auto record = files.read_record();
      if (!record.ok() || record->container != id) {
        spdlog::warn("{}: left half made, removed", files.directory());
        files.remove();
        continue;
      }
      Isolation& isolation = machine_.isolation_of(record->isolation);
      if (auto taken = leases_.take(id, record->devices, record->resources.gpu.share_bytes);
          !taken.ok()) {
        spdlog::warn("{}: {}", id.text(), taken.error().message);
      }
      add(isolation, std::move(*record), files).adopt(last_seen);
    }
  }

  template <class Do>
  void with_container(ContainerId id, Do what) {
    if (const auto found = containers_.find(id); found != containers_.end()) what(*found->second);
  }
  void take(StopRequest& m, UniqueFd) {
    with_container(m.container, [&](NodeContainer& container) { container.stop(m.grace); });
  }
  void take(InterruptRequest& m, UniqueFd) {
    with_container(m.container, [](NodeContainer& container) { container.interrupt(); });
  }
  void take(RemountRequest& m, UniqueFd) {
    const ContainerId id = m.container;
    const std::string path = m.volume.path;
    const auto answer = [this, id, path](Result<> result) {
      tell(VolumeRemounted{id, path, std::move(result)});
    };
    if (auto fine = check_volumes({m.volume}); !fine.ok()) return answer(std::move(fine));
    auto opened = open_volumes({m.volume});
    if (!opened.ok()) return answer(std::move(opened).error());
    if (!containers_.contains(id)) {
      return answer(Error{ErrorCode::not_found, "there is no such container"});
    }
    containers_.at(id)->remount(std::move(opened->front()), driver_uid_, answer);
  }
  void take(AcknowledgeExit& m, UniqueFd) {
    if (exits_.erase(m.container) > 0) ContainerFiles(directory_.path, m.container).remove();
  }

  void on_container_started(ContainerId id, Time at) override { tell(StartedNotice{id, at}); }
  void on_container_refused(ContainerId id, std::string why) override {
    leases_.give_back(id);
    refuse(id, std::move(why));
    remove(id);
  }
  void on_container_ended(ContainerExit exit) override {
    const ContainerId id = exit.container;
    leases_.give_back(id);
    tell(exit);
    exits_[id] = std::move(exit);
    processes_.reap_strangers();
    remove(id);
  }
  void remove(ContainerId id) {
    containers_.erase(id);
    if (all_ended_ && containers_.empty()) all_ended();
  }
  void all_ended() {
    if (machine_.networks) machine_.networks->end_all();
    all_ended_();
  }
  void on_container_runner(ContainerId id) override {
    if (!driver_ || !driver_said_hello_) return;  // kept by the container until a driver comes
    with_container(id, [&](NodeContainer& container) {
      if (container.has_runner()) tell(RunnerConnected{id}, container.take_runner());
    });
  }

  // --- processes beside the containers' first ones ---

  void take(ExecRequest& m, UniqueFd) {
    const auto found = containers_.find(m.container);
    if (found == containers_.end() || found->second->process() == 0) {
      return on_exec_ended(m.exec, no_such_container(m.container));
    }
    NodeContainer& container = *found->second;
    execs_.start(container.isolation(), {.record = container.record(),
                                         .files = container.files(),
                                         .runner = container.process(),
                                         .exec = m.exec,
                                         .spec = std::move(m.spec)});
  }
  void take(EndExecRequest& m, UniqueFd) { execs_.end(m.exec); }
  void on_exec_stream(ExecId exec, ExecStream stream, UniqueFd file) override {
    tell(ExecStreamReady{exec, stream}, std::move(file));
  }
  void on_exec_ended(ExecId exec, Result<ExecExit> exit) override {
    tell(ExecEnded{exec, std::move(exit)});
  }

  void take(InspectRequest& m, UniqueFd) {
    const auto answer = [this, question = m.question](Result<std::string> text) {
      tell(Inspected{question, std::move(text)});
    };
    const auto found = containers_.find(m.container);
    if (found == containers_.end() || found->second->process() == 0) {
      return answer(no_such_container(m.container));
    }
    const NodeContainer& container = *found->second;
    const Isolation& isolation = container.isolation();
    const ContainerMeta& record = container.record();
    if (std::string why = isolation.why_opaque(); !why.empty()) {
      return answer({ErrorCode::unavailable, std::move(why)});
    }
    if (m.what == ProcessQuery::stacks) {
      return dump_stacks(loop_, processes_,
                         {.py_spy = find_program(options_.py_spy).value_or(""),
                          .process = isolation.runner_process(container.process())},
                         answer);
    }
    answer(processes_json([&](pid_t pid) { return isolation.has_process(record, pid); },
                          isolation.root_user(record)));
  }

  static Error no_such_container(ContainerId id) {
    return {ErrorCode::not_found, "the container " + id.text() + " does not run on this node"};
  }

  // --- devices ---

  void watch_devices() {
    machine_.gpus->watch(
        loop_,
        {.is_ours = [this](DeviceId device,
                           std::int64_t pid) { return holder_of(device, pid) != nullptr; },
         .on_change =
             [this] {
               machine_.refresh_devices();
               tell_devices();
             },
         .on_processes = [this](DeviceId device,
                                const auto& processes) { watch_shares(device, processes); }});
    machine_.refresh_devices();
    for (const std::string& line : machine_.gpus->troubles()) {
      spdlog::warn("{}", line);
      machine_.missing.push_back(line);
    }
  }

  // Of the containers that hold the device, the one that the process runs in; null if none.
  NodeContainer* holder_of(DeviceId device, std::int64_t pid) const {
    for (const DeviceLeases::Hold& hold : leases_.holds(device)) {
      const auto container = containers_.find(hold.container);
      if (container == containers_.end()) continue;
      const ContainerMeta& record = container->second->record();
      const Isolation& isolation = machine_.isolation_of(record.isolation);
      if (isolation.has_process(record, static_cast<pid_t>(pid))) return container->second.get();
    }
    return nullptr;
  }

  void watch_shares(DeviceId device, const std::vector<GpuProcess>& processes) {
    std::vector<ShareUse> uses;
    for (const DeviceLeases::Hold& hold : leases_.holds(device)) {
      if (hold.share_bytes > 0) uses.push_back({hold.container, hold.share_bytes, 0});
    }
    if (uses.empty()) return;
    bool all_known = true;
    for (const GpuProcess& process : processes) {
      const NodeContainer* holder = holder_of(device, process.pid);
      if (holder == nullptr) continue;
      const auto use = std::ranges::find(uses, holder->record().container, &ShareUse::container);
      if (use != uses.end()) use->used_bytes += process.memory_bytes.value_or(0);
      all_known = all_known && process.memory_bytes;
    }
    if (!all_known) note_unwatched_shares();
    for (const ShareUse& offender : share_watch_.look(device, uses)) {
      with_container(offender.container, [&](NodeContainer& container) {
        container.end_over_share(offender.used_bytes);
      });
    }
  }

  void note_unwatched_shares() {
    if (std::exchange(shares_unwatched_, true)) return;
    machine_.missing.push_back(
        "shares of GPUs are not watched: the driver does not tell here how much memory each "
        "process has, so a container can take more than its share");
    spdlog::warn("{}", machine_.missing.back());
    tell_devices();
  }

  void tell_devices() { tell(DevicesNotice{machine_.capacity.devices, machine_.missing}); }

  // --- images ---

  // The build comes next.
  void take(BuildCredentials& message, UniqueFd file) {
    credentials_ = {std::move(message.image_id), std::move(file)};
  }

  void take(BuildRequest& message, UniqueFd sources) {
    const std::string id = message.image_id;
    auto fine = check_image(message.spec);
    if (fine.ok() && message.push_to.empty() && image_id(message.spec) != id) {
      fine = Error{ErrorCode::invalid_argument, "the image's id is not that of its steps"};
    }
    if (fine.ok() && !message.push_to.empty()) fine = check_reference(message.push_to);
    if (!fine.ok()) return tell(ImageBuilt{id, std::move(fine)});
    auto [credentials_of, credentials] = std::exchange(credentials_, {});
    if (credentials_of != id) credentials.reset();
    images_.build({message.spec, std::move(message.push_to), std::move(sources),
                   std::make_shared<const UniqueFd>(std::move(credentials))},
                  {.on_line =
                       [this, id](std::string line) {
                         tell(BuildLine{id, std::move(line)});
                       },
                   .on_end =
                       [this, id](Result<> result) {
                         tell(ImageBuilt{id, std::move(result)});
                       }});
  }

  void take(ImageQuery& message, UniqueFd) {
    std::set<std::string> kept;
    for (const auto& [id, container] : containers_) {
      kept.insert(container->record().layers.begin(), container->record().layers.end());
    }
    tell(ImageAnswer{message.query, images_.answer(message, std::move(kept))});
  }

  // --- now and then ---

  // Without a driver too: what was seen outlives a network that dies before its container.
  void report_egress() {
    for (const auto& [id, container] : containers_) {
      if (const auto total = container->untold_egress_bytes()) tell(EgressNotice{id, *total});
    }
  }

  // Told anew of the node, the driver asks again for what it had put off.
  void look_for_room() {
    if (!lacks_room_ || !directory_.has_room()) return;
    lacks_room_ = false;
    tell_devices();
  }

  void tick() {
    directory_.touch_last_seen();
    for (const auto& [id, container] : containers_) container->take_output();
    if (++ticks_ % kTicksPerEgressReport == 0) report_egress();
    if (ticks_ % kTicksPerLookForRoom == 0) look_for_room();
    processes_.reap_strangers();
    tick_.expires_after(kTick);
    tick_.async_wait([this](auto error) {
      if (!error) tick();
    });
  }

  boost::asio::io_context& loop_;
  const NodeOptions options_;
  NodeDirectory directory_;
  ProcessTable processes_;
  Machine machine_;
  DeviceLeases leases_;
  ShareWatch share_watch_;
  bool shares_unwatched_ = false;
  ImageStore images_;
  std::map<ContainerId, std::unique_ptr<NodeContainer>> containers_;
  std::map<ContainerId, ContainerExit> exits_;  // not yet acknowledged
  Execs execs_;
  std::function<void()> all_ended_;  // set: the containers are being ended
  stream_descriptor listener_;
  std::unique_ptr<MessageChannel> driver_;
  bool driver_said_hello_ = false;
  uid_t driver_uid_ = 0;
  UniqueFd volumes_;  // the directory of the driver's
  // What the registry of the build that comes next asks for, with that build's name.
  std::pair<std::string, UniqueFd> credentials_;
  bool lacks_room_ = false;  // a container was refused while the disk had none
  boost::asio::steady_timer tick_;
  std::uint64_t ticks_ = 0;
};

}  // namespace

Result<std::unique_ptr<Agent>> Agent::start(boost::asio::io_context& loop,
                                            const NodeOptions& options) {
  auto directory = open_node_directory(options);
  if (!directory.ok()) return std::move(directory).error();
  auto agent = std::make_unique<NodeAgent>(loop, options, std::move(*directory));
  if (auto begun = agent->begin(); !begun.ok()) return std::move(begun).error();
  return std::unique_ptr<Agent>(std::move(agent));
}

int run_node(const NodeOptions& options) {
  boost::asio::io_context loop(1);
  boost::asio::signal_set signals(loop, SIGTERM, SIGINT);
  auto agent = Agent::start(loop, options);
  if (!agent.ok()) {
    spdlog::error("{}", agent.error().message);
    return 5;
  }
  signals.async_wait([&](auto, int signal) {
    if (signal == SIGTERM) return loop.stop();
    (*agent)->end_containers([&] { loop.stop(); });
    signals.async_wait([&](auto, int) { loop.stop(); });
  });
  loop.run();
  return 0;
}

}  // namespace ember
