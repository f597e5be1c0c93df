#include "node/gpu_report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model/gpu_name.h"

namespace ember {
namespace {

using Json = nlohmann::json;

template <class Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json();
}

Json entry_json(const GpuReport::Entry& entry) {
  Json processes = Json::array();
  for (const GpuProcess& process : entry.readings.processes) {
    processes.push_back({{"pid", process.pid}, {"memory_bytes", or_null(process.memory_bytes)}});
  }
  return {{"index", entry.gpu.index},
          {"uuid", entry.gpu.uuid},
          {"name", entry.gpu.name},
          {"type", entry.type},
          {"pci_bus_id", entry.gpu.pci_bus_id},
          {"memory_bytes", entry.gpu.memory_bytes},
          {"minor_number", entry.gpu.minor_number},
          {"mig", entry.gpu.mig == MigMode::on},
          {"temperature_celsius", or_null(entry.readings.temperature_celsius)},
          {"power_milliwatts", or_null(entry.readings.power_milliwatts)},
          {"utilization_percent", or_null(entry.readings.utilization_percent)},
          {"processes", std::move(processes)}};
}

std::string entry_text(const GpuReport::Entry& entry) {
  std::string text = fmt::format("{}: {}, {} ({}), {} MiB", entry.gpu.index, entry.type,
                                 entry.gpu.name, entry.gpu.uuid, entry.gpu.memory_bytes >> 20);
  if (entry.gpu.mig == MigMode::on) text += ", in MIG mode: left alone";
  const GpuReadings& readings = entry.readings;
  if (readings.temperature_celsius) text += fmt::format(", {} C", *readings.temperature_celsius);
  if (readings.power_milliwatts) text += fmt::format(", {} W", *readings.power_milliwatts / 1000);
  for (const GpuProcess& process : readings.processes) {
    text += fmt::format(", used by process {}", process.pid);
  }
  return text;
}

}  // namespace

GpuReport make_gpu_report(const std::string& library) {
  GpuReport report;
  const auto nvml = Nvml::load(library);
  if (!nvml.ok()) {
    if (nvml.error().code != ErrorCode::not_found) report.troubles = {nvml.error().message};
    return report;
  }
  report.driver_version = (*nvml)->driver_version();
  auto found = (*nvml)->find_gpus();
  if (!found.ok()) {
    report.troubles = {found.error().message};
    return report;
  }
  report.troubles = std::move(found->troubles);
  for (const Gpu& gpu : found->gpus) {
    auto readings = (*nvml)->read(gpu);
    if (!readings.ok()) {
      report.troubles.push_back(fmt::format("GPU {}: {}", gpu.index, readings.error().message));
    }
    report.entries.push_back({.gpu = gpu,
                              .type = gpu_type_of(gpu.name, gpu.memory_bytes),
                              .readings = readings.ok() ? *readings : GpuReadings{}});
  }
  return report;
}

std::string to_json(const GpuReport& report) {
  Json devices = Json::array();
  for (const GpuReport::Entry& entry : report.entries) devices.push_back(entry_json(entry));
  return Json{{"driver_version", report.driver_version},
              {"devices", std::move(devices)},
              {"troubles", report.troubles}}
      .dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string to_text(const GpuReport& report) {
  std::string text = report.driver_version.empty() ? "no NVIDIA driver on this machine"
                                                   : "NVIDIA driver " + report.driver_version;
  if (!report.driver_version.empty() && report.entries.empty()) text += ", no devices";
  for (const GpuReport::Entry& entry : report.entries) text += "\n" + entry_text(entry);
  for (const std::string& trouble : report.troubles) text += "\ntrouble: " + trouble;
  return text;
}

}  // namespace ember
