#include "node/machine.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <spdlog/spdlog.h>
#include <algorithm>
#include <chrono>
#include <optional>
#include <set>

#include "node/bundle.h"
#include "node/cgroup.h"
#include "node/crun_isolation.h"
#include "node/devices.h"
#include "node/ephemeral_disk.h"
#include "node/machine_network.h"
#include "node/process_isolation.h"
#include "node/root_filesystem.h"
#include "node/runsc_isolation.h"
#include "node/stage.h"
#include "node/uv.h"

namespace ember {
namespace {

constexpr std::chrono::seconds kTrialLimit{20};
// The node does without it, and starts are waited for.
constexpr std::chrono::seconds kGvisorTrialLimit{10};
// Static, so that nothing of the user's environment is loaded into it.
constexpr const char* kInit = "/usr/bin/tini-static";
constexpr const char* kNoInit =
    "init: tini is not installed; what a function's processes leave behind stays, as zombies, "
    "until its container ends";
std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "node";
}

std::int64_t machine_memory_bytes() {
  return static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
}

// Those that containers of an earlier life of the node use. One whose end is on disk uses none,
// though that life may have died before it forgot which one it had.
std::set<std::string> networks_in_use(const NodeDirectory& directory) {
  std::set<std::string> used;
  for (const ContainerId id : containers_on_disk(directory.path)) {
    const ContainerFiles files(directory.path, id);
    if (files.read_exit()) continue;
    if (auto network = files.read_network()) used.insert(std::move(*network));
  }
  return used;
}

// Runs a trivial program through the whole path of a container.
Result<> try_isolation(boost::asio::io_context& loop, ProcessTable& processes,
                       const NodeDirectory& directory, Isolation& isolation,
                       std::chrono::seconds limit) {
  const ContainerMeta record{.container = ContainerId{directory.node.value},
                             .labels_json = "",
                             .devices = {},
                             .started = {},
                             .resources = {},
                             .isolation = std::string(isolation.name()),
                             .slot = kMaxSlots - 1};
  const ContainerFiles files(directory.path, record.container);
  if (auto created = files.create(record, "{}"); !created.ok()) return created;
  Result<> outcome{ErrorCode::unavailable,
                   "a trial program did not end within " + std::to_string(limit.count()) +
                       " s; start Ember again when the machine is less busy"};
  const auto ended = [&](ProcessEnd end) {
    loop.stop();
    outcome = end.exit_status == 0 ? Result<>(Ok{})
                                   : Error{ErrorCode::unavailable,
                                           "a trial program failed: " + files.last_output(500)};
  };
  isolation.launch({record, files, {}, {}, {"/usr/bin/true"}}, {}, [&](Result<pid_t> pid) {
    if (pid.ok() && processes.watch(*pid, ended).ok()) return;
    if (!pid.ok()) outcome = std::move(pid).error();
    loop.stop();
  });
  loop.restart();
  loop.run_for(limit);
  isolation.clean_up(record, 0);
  files.remove();
  return outcome;
}

// Why containers under gVisor are not to be had; empty: they are. It takes no routes from a network
// that lead nowhere, so that the firewall of veth pairs alone closes it.
std::string try_gvisor(boost::asio::io_context& loop, ProcessTable& processes,
                       const OciSetup& setup, NetworkMechanism mechanism) {
  if (setup.runsc.empty()) return "runsc is not installed: apt-get install runsc";
  if (mechanism != NetworkMechanism::veth) {
    return "it takes networks that are veth pairs, and they are " +
           std::string(name_of(mechanism)) + " here: `ember up --network veth` says why";
  }
  if (!setup.cgroups.usable()) return "it takes control groups: " + setup.cgroups.missing().front();
  const auto isolation = make_runsc_isolation(processes, setup);
  const auto tried = try_isolation(loop, processes, setup.directory, *isolation, kGvisorTrialLimit);
  return tried.ok() ? "" : tried.error().message;
}

// What became of the trials: no containers at all, or why none are under gVisor.
Result<std::string> try_isolations(OciSetup setup, const NodeOptions& options,
                                   NetworkMechanism mechanism) {
  boost::asio::io_context loop(1);
  ProcessTable processes(loop);
  auto networks =
      make_container_networks(loop, processes, setup.directory, options, mechanism, Trial::yes);
  if (!networks.ok()) return std::move(networks).error();
  setup.networks = networks->pool.get();
  const auto isolation = make_crun_isolation(processes, setup);
  auto tried = try_isolation(loop, processes, setup.directory, *isolation, kTrialLimit);
  if (!tried.ok()) return std::move(tried).error();
  return try_gvisor(loop, processes, setup, mechanism);
}

struct Containers {
  std::unique_ptr<NetworkPool> networks;
  std::unique_ptr<Isolation> isolation, gvisor;
  std::string no_gvisor;
  std::unique_ptr<BuildSandboxes> builds;
  std::vector<std::string> missing;
  std::string network;
};

constexpr const char* kNoEgress = "egress metering: not without a network of its own";

Result<Containers> try_containers(boost::asio::io_context& loop, ProcessTable& processes,
                                  const NodeOptions& options, const NodeDirectory& directory,
                                  NetworkMechanism mechanism,
                                  const std::optional<std::string>& without_limits_since) {
  const bool own_network = mechanism != NetworkMechanism::of_the_machine;
  auto rootfs =
      make_root_filesystem(directory.path, directory.python, own_network ? kNameServer : "");
  if (!rootfs.ok()) return std::move(rootfs).error();
  auto mount_points =
      make_mount_points(directory.path, directory.python, own_network ? kNameServer : "");
  if (!mount_points.ok()) return std::move(mount_points).error();
  Cgroups cgroups(directory.node);
  if (without_limits_since) cgroups.give_up(*without_limits_since);
  const bool has_init = ::access(kInit, X_OK) == 0;
  OciSetup setup{.crun = keep_in_memory(*find_program("crun")),
                 .runsc = find_program(options.runsc).value_or(""),
                 .init = has_init ? kInit : "",
                 .directory = directory,
                 .rootfs = std::move(*rootfs),
                 .mount_points = std::move(*mount_points),
                 .cgroups = std::move(cgroups),
                 .networks = nullptr};
  auto no_gvisor = try_isolations(setup, options, mechanism);
  if (!no_gvisor.ok()) return std::move(no_gvisor).error();
  auto networks =
      make_container_networks(loop, processes, directory, options, mechanism, Trial::no);
  if (!networks.ok()) return std::move(networks).error();
  Containers made;
  made.network = std::move(networks->line);
  made.networks = std::move(networks->pool);
  made.missing = setup.cgroups.missing();
  if (const std::string lacks = lacks_for_ephemeral_disks(); !lacks.empty()) {
    made.missing.push_back("ephemeral disks: " + lacks);
  }
  if (!own_network) made.missing.push_back(kNoEgress);
  if (!has_init) made.missing.push_back(kNoInit);
  setup.networks = made.networks.get();
  made.builds = std::make_unique<BuildSandboxes>(setup);
  made.no_gvisor = std::move(*no_gvisor);
  made.gvisor = make_runsc_isolation(processes, setup);
  made.isolation = make_crun_isolation(processes, std::move(setup));
  return made;
}

// The best mechanism that works, and why no better one does.
Result<Containers> try_mechanisms(boost::asio::io_context& loop, ProcessTable& processes,
                                  const NodeOptions& options, const NodeDirectory& directory,
                                  const std::optional<std::string>& without_limits_since) {
  std::string since;
  Result<Containers> made{ErrorCode::unavailable, ""};
  for (const NetworkMechanism mechanism : network_mechanisms(options)) {
    made = try_containers(loop, processes, options, directory, mechanism, without_limits_since);
    if (made.ok() && !since.empty()) made->network += " (" + since + ")";
    if (made.ok()) return made;
    since += (since.empty() ? "not by " : "; not by ") + std::string(name_of(mechanism)) + ": " +
             made.error().message;
  }
  return made;
}

// The most that works: with limits or without.
Result<Containers> set_up_containers(boost::asio::io_context& loop, ProcessTable& processes,
                                     const NodeOptions& options, const NodeDirectory& directory) {
  if (!find_program("crun")) return {ErrorCode::unavailable, "crun is not installed"};
  if (::geteuid() != 0) {
    return {ErrorCode::unavailable, "it takes root to give containers users of their own"};
  }
  if (!can_stage()) return {ErrorCode::unavailable, "no mount namespace can be made here"};
  end_stray_networks(directory, networks_in_use(directory));
  auto made = try_mechanisms(loop, processes, options, directory, std::nullopt);
  if (!made.ok()) {
    made = try_mechanisms(loop, processes, options, directory, made.error().message);
  }
  if (!made.ok()) return made;
  made->networks->fill();
  return made;
}

void use_processes(Machine& machine, const NodeOptions& options, const std::string& why) {
  machine.no_gvisor = "this node runs plain processes";
  if (options.isolation == IsolationChoice::automatic && !options.allow_process) {
    machine.refusal = "containers are not to be had on this machine (" + why +
                      "); allow plain processes in so many words to go on without isolation";
    return;
  }
  machine.isolation = &machine.isolation_of("process");
  machine.network = "the machine's own: the runner is a plain process";
  machine.missing = {"isolation: none, user code runs as a plain process of this user" +
                         (why.empty() ? "" : " (" + why + ")"),
                     "memory, CPU and process limits: not with process isolation",
                     "egress metering: not with process isolation"};
  spdlog::warn("no isolation: user code runs as a plain process{}",
               why.empty() ? "" : ", since " + why);
}

void choose_isolation(Machine& machine, boost::asio::io_context& loop, ProcessTable& processes,
                      const NodeOptions& options, const NodeDirectory& directory) {
  auto containers = set_up_containers(loop, processes, options, directory);
  if (containers.ok()) {
    machine.networks = std::move(containers->networks);
    machine.builds = std::move(containers->builds);
    machine.no_gvisor = std::move(containers->no_gvisor);
    machine.isolations.push_back(std::move(containers->gvisor));
    machine.isolations.push_back(std::move(containers->isolation));
  }
  if (options.isolation == IsolationChoice::process) return use_processes(machine, options, "");
  const bool asked_for = options.isolation == IsolationChoice::container ||
                         options.network != NetworkChoice::automatic;
  if (!containers.ok() && asked_for) {
    machine.refusal = "containers are not to be had on this machine: " + containers.error().message;
    return;
  }
  if (!containers.ok()) return use_processes(machine, options, containers.error().message);
  machine.isolation = machine.isolations.back().get();
  machine.network = std::move(containers->network);
  machine.missing = std::move(containers->missing);
}

}  // namespace

Isolation& Machine::isolation_of(std::string_view wanted) const {
  for (const auto& one : isolations) {
    if (one->name() == wanted) return *one;
  }
  return *isolation;
}

Result<Isolation*> Machine::isolation_for(IsolationClass wanted) const {
  if (wanted == IsolationClass::of_the_node) return isolation;
  const std::string_view named = isolation_class_name(wanted);
  if (wanted == IsolationClass::gvisor && !no_gvisor.empty()) {
    return {ErrorCode::unavailable, "this node has no gVisor: " + no_gvisor};
  }
  Isolation& found = isolation_of(named);
  if (found.name() == named) return &found;
  return {ErrorCode::unavailable, "this node has no isolation \"" + std::string(named) + "\""};
}

void Machine::refresh_devices() {
  capacity.devices = simulated;
  capacity.devices.insert(capacity.devices.end(), gpus->devices().begin(), gpus->devices().end());
  std::ranges::sort(capacity.devices, {}, &Device::id);
}

Result<GpuGrant> Machine::grant(const std::vector<DeviceId>& devices) const {
  std::vector<Gpu> granted;
  for (const DeviceId id : devices) {
    const auto device = std::ranges::find(capacity.devices, id, &Device::id);
    if (device == capacity.devices.end()) {
      return {ErrorCode::not_found, "this node has no device " + id.text()};
    }
    if (device->state != DeviceState::available) {
      return {ErrorCode::conflict, "device " + id.text() + " is not available: " + device->reason};
    }
    if (const Gpu* gpu = gpus->find(id)) granted.push_back(*gpu);
  }
  return grant_gpus(granted, driver_libraries, dev_directory);
}

Machine probe_machine(boost::asio::io_context& loop, ProcessTable& processes,
                      const NodeOptions& options, const NodeDirectory& directory) {
  Machine machine;
  machine.name = options.name.empty() ? host_name() : options.name;
  machine.capacity.cpu_millicores =
      options.cpu_millicores > 0 ? options.cpu_millicores : ::get_nprocs() * 1000;
  machine.capacity.memory_bytes =
      options.memory_bytes > 0 ? options.memory_bytes : machine_memory_bytes();
  auto devices = simulated_devices(options.simulate_gpus, directory.node);
  if (!devices.ok()) {
    machine.refusal = devices.error().message;
    return machine;
  }
  machine.simulated = std::move(*devices);
  machine.dev_directory = options.dev_directory;
  machine.gpus = std::make_unique<GpuInventory>(options.nvml_library, options.dev_directory);
  make_missing_gpu_nodes(machine.gpus->gpus());
  machine.driver_libraries =
      find_driver_libraries(machine.gpus->library_path(), machine.gpus->driver_version());
  machine.refresh_devices();
  machine.isolations.push_back(
      make_process_isolation(loop, directory.node, directory.python_path()));
  choose_isolation(machine, loop, processes, options, directory);
  return machine;
}

}  // namespace ember
