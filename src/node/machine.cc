#include "node/machine.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include "node/devices.h"
#include "node/process_isolation.h"

namespace ember {
namespace {

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "node";
}

std::int64_t machine_memory_bytes() {
  return static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
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
  (void)processes;
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
  machine.isolation = machine.isolations.back().get();
  machine.network = "the machine's own: the runner is a plain process";
  machine.missing = {"isolation: none, user code runs as a plain process of this user",
                     "memory, CPU and process limits: not with process isolation"};
  return machine;
}

}  // namespace ember
