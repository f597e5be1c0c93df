// The real devices of this node and how they stand: available, used by others, divided by MIG, not
// to be opened, or cordoned. A cordon stays until the node starts anew, which is what follows a
// mended device.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/node.h"
#include "node/gpu_watch.h"
#include "node/nvml.h"

namespace ember {

class GpuInventory {
 public:
  // Whether the process belongs to the container that holds the device.
  using IsOurs = std::function<bool(DeviceId device, std::int64_t pid)>;

  // No devices, and no trouble, where this machine has no NVIDIA driver.
  // `dev_directory` is where programs open the devices.
  GpuInventory(const std::string& library, std::string dev_directory);

  // As they stand, by index.
  const std::vector<Device>& devices() const { return devices_; }
  const Gpu* find(DeviceId device) const;
  const std::vector<Gpu>& gpus() const { return gpus_; }
  // What keeps devices from use or from being watched, one line each.
  const std::vector<std::string>& troubles() const { return troubles_; }
  const std::string& driver_version() const { return driver_version_; }
  const std::string& library_path() const { return library_path_; }

  struct Handlers {  // called from the loop
    IsOurs is_ours;
    std::function<void()> on_change;  // one stands otherwise than before
    // Who computes on the device, at each look.
    std::function<void(DeviceId device, const std::vector<GpuProcess>&)> on_processes;
  };
  // Reads who uses the devices, and looks after them from now on.
  void watch(boost::asio::io_context& loop, Handlers handlers);

 private:
  void add(const Gpu& gpu);
  // True: it stands otherwise than before.
  bool take_readings(std::size_t index, const Result<GpuReadings>& readings);
  bool take_event(const GpuEvent& event);
  bool set(std::size_t index, DeviceState state, std::string reason);

  const std::string dev_directory_;
  std::unique_ptr<Nvml> nvml_;
  std::vector<Gpu> gpus_;
  std::vector<Device> devices_;  // of the same order
  std::vector<std::string> troubles_;
  std::string driver_version_, library_path_;
  Handlers handlers_;
  std::unique_ptr<GpuWatch> watch_;  // uses nvml_ on its thread: ends first
};

}  // namespace ember
