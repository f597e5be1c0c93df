#include "node/gpu_inventory.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "model/gpu_name.h"
#include "node/container_files.h"
#include "node/digest.h"
#include "node/gpu_health.h"
#include "node/gpu_nodes.h"

namespace ember {
namespace {

// The same wherever the device stands in the list, as its UUID is.
DeviceId device_id(const Gpu& gpu) {
  return DeviceId{std::stoull(hex_sha256(gpu.uuid).substr(0, 16), nullptr, 16) | 1};
}

std::string user_text(const GpuProcess& process) {
  std::string text = "process " + std::to_string(process.pid);
  auto name = read_file("/proc/" + std::to_string(process.pid) + "/comm");
  if (!name) return text;
  while (name->ends_with('\n')) name->pop_back();
  return text + " (" + *name + ")";
}

}  // namespace

GpuInventory::GpuInventory(const std::string& library, std::string dev_directory)
    : dev_directory_(std::move(dev_directory)) {
  auto nvml = Nvml::load(library);
  if (!nvml.ok()) {
    if (nvml.error().code != ErrorCode::not_found) {
      troubles_.push_back("GPUs: " + nvml.error().message);
    }
    return;
  }
  nvml_ = std::move(*nvml);
  driver_version_ = nvml_->driver_version();
  library_path_ = nvml_->library_path();
  auto found = nvml_->find_gpus();
  if (!found.ok()) {
    troubles_.push_back("GPUs: " + found.error().message);
    return;
  }
  troubles_ = std::move(found->troubles);
  for (const Gpu& gpu : found->gpus) add(gpu);
}

void GpuInventory::add(const Gpu& gpu) {
  gpus_.push_back(gpu);
  devices_.push_back({.id = device_id(gpu),
                      .type = gpu_type_of(gpu.name, gpu.memory_bytes),
                      .vram_bytes = gpu.memory_bytes,
                      .uuid = gpu.uuid});
  const std::size_t index = gpus_.size() - 1;
  if (gpu.mig == MigMode::on) {
    set(index, DeviceState::mig, "it is in MIG mode, which Ember leaves alone");
  }
}

const Gpu* GpuInventory::find(DeviceId device) const {
  const auto found = std::ranges::find(devices_, device, &Device::id);
  return found == devices_.end() ? nullptr
                                 : &gpus_[static_cast<std::size_t>(found - devices_.begin())];
}

void GpuInventory::watch(boost::asio::io_context& loop, Handlers given) {
  handlers_ = std::move(given);
  if (gpus_.empty()) return;
  for (std::size_t i = 0; i < gpus_.size(); ++i) take_readings(i, nvml_->read(gpus_[i]));
  for (std::string& line : nvml_->watch(gpus_)) troubles_.push_back(std::move(line));
  GpuWatch::Handlers handlers;
  handlers.on_event = [this](const GpuEvent& event) {
    if (take_event(event)) handlers_.on_change();
  };
  handlers.on_readings = [this](const std::vector<Result<GpuReadings>>& readings) {
    bool changed = false;
    for (std::size_t i = 0; i < readings.size(); ++i) changed |= take_readings(i, readings[i]);
    if (changed) handlers_.on_change();
    for (std::size_t i = 0; i < readings.size(); ++i) {
      if (readings[i].ok()) handlers_.on_processes(devices_[i].id, readings[i]->processes);
    }
  };
  watch_ = std::make_unique<GpuWatch>(loop, *nvml_, gpus_, std::move(handlers));
}

bool GpuInventory::take_readings(std::size_t index, const Result<GpuReadings>& readings) {
  if (!readings.ok()) return set(index, DeviceState::cordoned, readings.error().message);
  // Looked for with each reading, since somebody may mend this.
  if (const auto nodes = find_gpu_nodes({gpus_[index]}, dev_directory_); !nodes.ok()) {
    return set(index, DeviceState::unreachable, nodes.error().message);
  }
  const DeviceId device = devices_[index].id;
  for (const GpuProcess& process : readings->processes) {
    if (handlers_.is_ours && handlers_.is_ours(device, process.pid)) continue;
    return set(index, DeviceState::in_use, "used by " + user_text(process));
  }
  return set(index, DeviceState::available, "");
}

bool GpuInventory::take_event(const GpuEvent& event) {
  const auto found = std::ranges::find(gpus_, event.handle, &Gpu::handle);
  if (found == gpus_.end()) return false;
  const auto reason = cordon_reason(event);
  if (!reason) {
    spdlog::info("GPU {}: Xid {}, of the program that ran there", found->index, event.xid);
    return false;
  }
  return set(static_cast<std::size_t>(found - gpus_.begin()), DeviceState::cordoned, *reason);
}

bool GpuInventory::set(std::size_t index, DeviceState state, std::string reason) {
  Device& device = devices_[index];
  if (device.state == DeviceState::cordoned) return false;  // its first reason is the telling one
  if (device.state == DeviceState::mig && state != DeviceState::cordoned) return false;
  if (device.state == state && device.reason == reason) return false;
  device.state = state;
  device.reason = std::move(reason);
  if (state == DeviceState::cordoned) {
    spdlog::error("GPU {} ({}, {}) is cordoned: {}", gpus_[index].index, device.type,
                  device.id.text(), device.reason);
  } else {
    spdlog::info("GPU {} ({}, {}) is {}{}{}", gpus_[index].index, device.type, device.id.text(),
                 device_state_name(state), device.reason.empty() ? "" : ": ", device.reason);
  }
  return true;
}

}  // namespace ember
