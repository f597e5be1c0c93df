#include "node/nvml.h"

#include <dlfcn.h>

#include <algorithm>

namespace ember {
namespace {

using nvml::Return;

constexpr unsigned kMaxProcesses = 4096;
constexpr unsigned long long kMemoryNotKnown = ~0ull;
constexpr unsigned long long kHealthEvents = nvml::kDoubleBitEccEvent | nvml::kXidEvent |
                                             nvml::kFatalPoisonEvent | nvml::kGpuUnavailableEvent;

// The device itself says that nothing can run on it.
bool is_fatal(Return code) {
  return code == nvml::kGpuIsLost || code == nvml::kResetRequired || code == nvml::kGpuNotFound;
}

// Fills a text that the library writes with its closing zero.
template <class Call>
Return read_text(unsigned size, std::string& text, Call call) {
  std::string buffer(size, '\0');
  const Return code = call(buffer.data(), size);
  text = buffer.substr(0, buffer.find('\0'));
  return code;
}

template <class Value, class Call>
Return read_optional(std::optional<Value>& value, Call call) {
  unsigned read = 0;
  const Return code = call(&read);
  if (code == nvml::kSuccess) value = read;
  return code;
}

GpuEvent::Kind kind_of(unsigned long long type) {
  if (type & nvml::kDoubleBitEccEvent) return GpuEvent::Kind::uncorrectable_ecc;
  if (type & nvml::kFatalPoisonEvent) return GpuEvent::Kind::poison;
  if (type & nvml::kGpuUnavailableEvent) return GpuEvent::Kind::unavailable;
  return GpuEvent::Kind::xid;
}

}  // namespace

void Nvml::Closer::operator()(void* library) const { ::dlclose(library); }

Result<std::unique_ptr<Nvml>> Nvml::load(const std::string& library) {
  std::unique_ptr<Nvml> nvml(new Nvml);
  nvml->library_.reset(::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (!nvml->library_) return {ErrorCode::not_found, ::dlerror()};
  if (auto resolved = nvml->resolve(); !resolved.ok()) return std::move(resolved).error();
  if (auto begun = nvml->begin(); !begun.ok()) return std::move(begun).error();
  return nvml;
}

Nvml::~Nvml() {
  if (events_ != nullptr) call_.nvmlEventSetFree(events_);
  if (begun_) call_.nvmlShutdown();
}

template <class Function>
void Nvml::resolve_one(const char* name, Function& function, std::string& missing) {
  function = reinterpret_cast<Function>(::dlsym(library_.get(), name));
  if (function == nullptr) missing += (missing.empty() ? "" : ", ") + std::string(name);
}

Result<> Nvml::resolve() {
  std::string missing, can_be_missed;
#define EMBER_RESOLVE(name) resolve_one(#name, call_.name, missing)
  EMBER_RESOLVE(nvmlInit_v2);
  EMBER_RESOLVE(nvmlShutdown);
  EMBER_RESOLVE(nvmlErrorString);
  EMBER_RESOLVE(nvmlSystemGetDriverVersion);
  EMBER_RESOLVE(nvmlDeviceGetCount_v2);
  EMBER_RESOLVE(nvmlDeviceGetHandleByIndex_v2);
  EMBER_RESOLVE(nvmlDeviceGetUUID);
  EMBER_RESOLVE(nvmlDeviceGetName);
  EMBER_RESOLVE(nvmlDeviceGetMemoryInfo);
  EMBER_RESOLVE(nvmlDeviceGetMinorNumber);
  EMBER_RESOLVE(nvmlDeviceGetPciInfo_v3);
  EMBER_RESOLVE(nvmlDeviceGetComputeRunningProcesses_v3);
  EMBER_RESOLVE(nvmlDeviceGetTemperature);
  EMBER_RESOLVE(nvmlDeviceGetPowerUsage);
  EMBER_RESOLVE(nvmlDeviceGetUtilizationRates);
  EMBER_RESOLVE(nvmlDeviceGetSupportedEventTypes);
  EMBER_RESOLVE(nvmlEventSetCreate);
  EMBER_RESOLVE(nvmlDeviceRegisterEvents);
  EMBER_RESOLVE(nvmlEventSetWait_v2);
  EMBER_RESOLVE(nvmlEventSetFree);
#undef EMBER_RESOLVE
  // A driver from before MIG has no devices in that mode.
  resolve_one("nvmlDeviceGetMigMode", call_.nvmlDeviceGetMigMode, can_be_missed);
  Dl_info where{};
  if (call_.nvmlInit_v2 != nullptr &&
      ::dladdr(reinterpret_cast<const void*>(call_.nvmlInit_v2), &where) != 0) {
    library_path_ = where.dli_fname;
  }
  if (missing.empty()) return Ok{};
  return {ErrorCode::unavailable, library_path_ + " lacks " + missing + "; install a newer driver"};
}

Result<> Nvml::begin() {
  if (const Return code = call_.nvmlInit_v2(); code != nvml::kSuccess) {
    return error("nvmlInit_v2", code);
  }
  begun_ = true;
  const Return code =
      read_text(nvml::kDriverVersionSize, driver_version_, call_.nvmlSystemGetDriverVersion);
  if (code != nvml::kSuccess) return error("nvmlSystemGetDriverVersion", code);
  return Ok{};
}

// The library has words for each of its codes, also for those that are newer than this program.
Error Nvml::error(const char* function, Return code) const {
  const char* words = call_.nvmlErrorString(code);
  return {ErrorCode::unavailable, std::string(function) + ": " +
                                      (words == nullptr ? "unknown error" : words) + " (" +
                                      std::to_string(static_cast<int>(code)) + ")"};
}

Result<Nvml::Discovery> Nvml::find_gpus() const {
  unsigned count = 0;
  if (const Return code = call_.nvmlDeviceGetCount_v2(&count); code != nvml::kSuccess) {
    return error("nvmlDeviceGetCount_v2", code);
  }
  Discovery discovery;
  for (unsigned index = 0; index < count; ++index) {
    auto gpu = find_gpu(index);
    if (gpu.ok()) {
      discovery.gpus.push_back(std::move(*gpu));
    } else {
      discovery.troubles.push_back("GPU " + std::to_string(index) + ": " + gpu.error().message);
    }
  }
  return discovery;
}

Result<Gpu> Nvml::find_gpu(std::uint32_t index) const {
  Gpu gpu;
  gpu.index = index;
  Return code = nvml::kSuccess;
  // The name of the first call that fails, for its code.
  const auto failed = [&code](Return returned) {
    code = returned;
    return returned != nvml::kSuccess;
  };
  if (failed(call_.nvmlDeviceGetHandleByIndex_v2(index, &gpu.handle))) {
    return error("nvmlDeviceGetHandleByIndex_v2", code);
  }
  if (failed(read_text(nvml::kUuidSize, gpu.uuid, [&](char* text, unsigned size) {
        return call_.nvmlDeviceGetUUID(gpu.handle, text, size);
      }))) {
    return error("nvmlDeviceGetUUID", code);
  }
  if (failed(read_text(nvml::kNameSize, gpu.name, [&](char* text, unsigned size) {
        return call_.nvmlDeviceGetName(gpu.handle, text, size);
      }))) {
    return error("nvmlDeviceGetName", code);
  }
  nvml::Memory memory{};
  if (failed(call_.nvmlDeviceGetMemoryInfo(gpu.handle, &memory))) {
    return error("nvmlDeviceGetMemoryInfo", code);
  }
  gpu.memory_bytes = static_cast<std::int64_t>(memory.total);
  if (failed(call_.nvmlDeviceGetMinorNumber(gpu.handle, &gpu.minor_number))) {
    return error("nvmlDeviceGetMinorNumber", code);
  }
  nvml::PciInfo pci{};
  if (failed(call_.nvmlDeviceGetPciInfo_v3(gpu.handle, &pci))) {
    return error("nvmlDeviceGetPciInfo_v3", code);
  }
  gpu.pci_bus_id = std::string(pci.bus_id, std::find(pci.bus_id, std::end(pci.bus_id), '\0'));
  if (call_.nvmlDeviceGetMigMode != nullptr) {
    unsigned mode = 0, pending = 0;
    const bool unread = failed(call_.nvmlDeviceGetMigMode(gpu.handle, &mode, &pending));
    // Most kinds of device have no such mode.
    if (unread && code != nvml::kNotSupported) return error("nvmlDeviceGetMigMode", code);
    if (mode == nvml::kMigEnabled) gpu.mig = MigMode::on;
  }
  return gpu;
}

Return Nvml::read_processes(const Gpu& gpu, std::vector<GpuProcess>& processes) const {
  std::vector<nvml::ProcessInfo> found(16);
  Return code = nvml::kInsufficientSize;
  unsigned count = 0;
  while (code == nvml::kInsufficientSize && found.size() <= kMaxProcesses) {
    // The count it asks for may be out of date at once: processes come.
    found.resize(std::max<std::size_t>(found.size() * 2, count));
    count = static_cast<unsigned>(found.size());
    code = call_.nvmlDeviceGetComputeRunningProcesses_v3(gpu.handle, &count, found.data());
  }
  if (code != nvml::kSuccess) return code;
  found.resize(std::min<std::size_t>(count, found.size()));
  for (const nvml::ProcessInfo& process : found) {
    GpuProcess& added = processes.emplace_back();
    added.pid = process.pid;
    if (process.used_gpu_memory != kMemoryNotKnown) {
      added.memory_bytes = static_cast<std::int64_t>(process.used_gpu_memory);
    }
  }
  return code;
}

Result<GpuReadings> Nvml::read(const Gpu& gpu) const {
  GpuReadings readings;
  nvml::Utilization utilization{};
  const Return used = call_.nvmlDeviceGetUtilizationRates(gpu.handle, &utilization);
  if (used == nvml::kSuccess) readings.utilization_percent = utilization.gpu;
  const std::pair<const char*, Return> calls[] = {
      {"nvmlDeviceGetUtilizationRates", used},
      {"nvmlDeviceGetComputeRunningProcesses_v3", read_processes(gpu, readings.processes)},
      {"nvmlDeviceGetTemperature", read_optional(readings.temperature_celsius,
                                                 [&](unsigned* value) {
                                                   return call_.nvmlDeviceGetTemperature(
                                                       gpu.handle, nvml::kTemperatureGpu, value);
                                                 })},
      {"nvmlDeviceGetPowerUsage", read_optional(readings.power_milliwatts, [&](unsigned* value) {
         return call_.nvmlDeviceGetPowerUsage(gpu.handle, value);
       })}};
  for (const auto& [function, code] : calls) {
    if (is_fatal(code)) return error(function, code);
  }
  return readings;
}

std::vector<std::string> Nvml::watch(const std::vector<Gpu>& gpus) {
  std::vector<std::string> unwatched;
  if (const Return code = call_.nvmlEventSetCreate(&events_); code != nvml::kSuccess) {
    events_ = nullptr;
    return {"GPU health events: " + error("nvmlEventSetCreate", code).message};
  }
  for (const Gpu& gpu : gpus) {
    unsigned long long types = 0;
    Return code = call_.nvmlDeviceGetSupportedEventTypes(gpu.handle, &types);
    if (code == nvml::kSuccess) {
      code = call_.nvmlDeviceRegisterEvents(gpu.handle, types & kHealthEvents, events_);
    }
    if (code == nvml::kSuccess) continue;
    unwatched.push_back("GPU " + std::to_string(gpu.index) +
                        ": health events: " + error("nvmlDeviceRegisterEvents", code).message);
  }
  return unwatched;
}

Result<std::optional<GpuEvent>> Nvml::wait_for_event(std::uint32_t timeout_ms) const {
  nvml::EventData data{};
  const Return code = call_.nvmlEventSetWait_v2(events_, &data, timeout_ms);
  if (code == nvml::kTimeout) return std::optional<GpuEvent>();
  if (code != nvml::kSuccess) return error("nvmlEventSetWait_v2", code);
  return std::optional(
      GpuEvent{.handle = data.device, .kind = kind_of(data.type), .xid = data.data});
}

}  // namespace ember
