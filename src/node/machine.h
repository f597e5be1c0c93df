// What this machine allows, found out by trying it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/node.h"
#include "node/build_sandbox.h"
#include "node/gpu_inventory.h"
#include "node/isolation.h"
#include "node/network_pool.h"
#include "node/node_directory.h"
#include "node/node_options.h"
#include "node/process_table.h"

namespace ember {

struct Machine {
  std::string name;
  NodeCapacity capacity;  // its devices as they stand: refresh_devices
  std::vector<Device> simulated;
  std::unique_ptr<GpuInventory> gpus;
  std::vector<DriverLibrary> driver_libraries;
  std::string dev_directory;
  Isolation* isolation = nullptr;  // for new containers; null: none is allowed, see refusal
  std::string refusal;
  std::string no_gvisor;             // why that class of isolation is not to be had; empty: it is
  std::string network;               // how containers reach out, one line
  std::vector<std::string> missing;  // limits that are not to be had, one line each
  std::unique_ptr<NetworkPool> networks;
  std::unique_ptr<BuildSandboxes> builds;  // null: this machine has no containers to build in
  std::vector<std::unique_ptr<Isolation>> isolations;  // all that can be cleaned up here

  // The one that a container was started with; the one for new containers where it is unknown.
  Isolation& isolation_of(std::string_view name) const;
  // The one of that class for a new container, if it is to be had.
  Result<Isolation*> isolation_for(IsolationClass wanted) const;
  void refresh_devices();
  // What a container with these devices gets of the driver; a refusal names what is not available.
  Result<GpuGrant> grant(const std::vector<DeviceId>& devices) const;
};

Machine probe_machine(boost::asio::io_context& loop, ProcessTable& processes,
                      const NodeOptions& options, const NodeDirectory& directory);

}  // namespace ember
