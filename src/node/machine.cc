#include "node/machine.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include "node/cgroup.h"
#include "node/crun_isolation.h"
#include "node/devices.h"
#include "node/process_isolation.h"
#include "node/root_filesystem.h"
#include "node/stage.h"
#include "node/uv.h"

namespace ember {
namespace {

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "node";
}

std::int64_t machine_memory_bytes() {
  return static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
}

// By which a later life of the node knows the networks that this one made.
std::string network_mark(NodeId node) { return "EMBER_NETWORK_OF=" + node.text(); }

struct Containers {
  std::unique_ptr<NetworkPool> networks;
  std::unique_ptr<Isolation> isolation;
  std::vector<std::string> missing;
  std::string network;
};

Result<Containers> set_up_containers(boost::asio::io_context& loop, ProcessTable& processes,
                                     const NodeOptions& options, const NodeDirectory& directory) {
  const auto crun = find_program("crun");
  if (!crun) return {ErrorCode::unavailable, "crun is not installed"};
  if (::geteuid() != 0) {
    return {ErrorCode::unavailable, "an ordinary user's containers are not supported yet"};
  }
  if (!can_stage()) {
    return {ErrorCode::unavailable, "this machine lets us make no mount namespace"};
  }
  Containers made;
  if (const auto slirp = find_program("slirp4netns")) {
    made.networks =
        std::make_unique<NetworkPool>(loop, processes, *slirp, network_mark(directory.node));
    made.network =
        "a network of its own, out through slirp4netns; this machine's loopback is out "
        "of reach";
  } else {
    made.network =
        "the machine's own network, its services within reach: slirp4netns is not "
        "installed";
  }
  auto rootfs =
      make_root_filesystem(directory.path, options.python, made.networks ? kSlirpNameServer : "");
  if (!rootfs.ok()) return std::move(rootfs).error();
  Cgroups cgroups(directory.node);
  made.missing = cgroups.missing();
  made.isolation = make_crun_isolation(processes, {.crun = *crun,
                                                   .directory = directory,
                                                   .rootfs = std::move(*rootfs),
                                                   .python = options.python,
                                                   .cgroups = std::move(cgroups),
                                                   .networks = made.networks.get()});
  return made;
}

void use_processes(Machine& machine, const NodeOptions& options, const std::string& why) {
  if (options.isolation == IsolationChoice::automatic && !options.allow_process) {
    machine.refusal = "containers are not to be had on this machine (" + why +
                      "); allow plain processes in so many words to go on without isolation";
    return;
  }
  machine.isolation = &machine.isolation_of("process");
  machine.network = "the machine's own: the runner is a plain process";
  machine.missing = {"isolation: none, user code runs as a plain process of this user" +
                         (why.empty() ? "" : " (" + why + ")"),
                     "memory, CPU and process limits: not with process isolation"};
  spdlog::warn("no isolation: user code runs as a plain process{}",
               why.empty() ? "" : ", since " + why);
}

void choose_isolation(Machine& machine, boost::asio::io_context& loop, ProcessTable& processes,
                      const NodeOptions& options, const NodeDirectory& directory) {
  auto containers = set_up_containers(loop, processes, options, directory);
  if (containers.ok()) {
    machine.networks = std::move(containers->networks);
    machine.isolations.push_back(std::move(containers->isolation));
  }
  if (options.isolation == IsolationChoice::process) return use_processes(machine, options, "");
  if (!containers.ok() && options.isolation == IsolationChoice::container) {
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
  machine.capacity.devices = std::move(*devices);
  machine.isolations.push_back(make_process_isolation(loop, directory.python_path()));
  choose_isolation(machine, loop, processes, options, directory);
  return machine;
}

}  // namespace ember
