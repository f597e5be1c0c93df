// A stand-in for NVIDIA's libnvidia-ml.so.1 with its binary interface, for tests on machines
// without GPUs. The environment variable NVML_STAND_IN_SCRIPT names a JSON file that says what
// there is; it is read anew at each call, so that a test may change the world under a running node:
//
//   {"driver_version": "570.86.15",
//    "errors": {"nvmlInit_v2": 9},                        calls that fail, with which code
//    "devices": [{"uuid": "GPU-...", "name": "NVIDIA L4", "memory_bytes": n, "used_bytes": n,
//                 "minor": n, "bus": n, "mig": 0 or 1 (absent: not supported),
//                 "temperature_celsius": n, "power_milliwatts": n, "utilization_percent": n,
//                 "processes": [{"pid": n, "memory_bytes": n}],
//                 "errors": {"nvmlDeviceGetUUID": 15}}],
//    "events": [{"device": 0, "type": 8, "data": 79}]}    each is told once, in this order
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "node/nvml_abi.h"

using ember::nvml::DeviceHandle;
using ember::nvml::EventData;
using ember::nvml::EventSetHandle;
using ember::nvml::Return;
using Json = nlohmann::json;

namespace nvml = ember::nvml;

// A handle's address stands for the device's index.
struct nvml::OpaqueDevice {};
struct nvml::OpaqueEventSet {
  std::size_t told = 0;
};

namespace {

constexpr unsigned kMaxDevices = 64;
nvml::OpaqueDevice devices[kMaxDevices];
std::mutex init_mutex;
int initialised = 0;

Json script() {
  const char* path = std::getenv("NVML_STAND_IN_SCRIPT");
  std::ifstream file(path == nullptr ? "" : path);
  Json read = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  return read.is_object() ? read : Json::object();
}

Return scripted_error(const Json& from, const char* function) {
  const Json errors = from.value("errors", Json::object());
  return static_cast<Return>(errors.value(function, 0));
}

// Answers for the library as a whole.
template <class Answer>
Return global(const char* function, Answer answer) {
  if (initialised == 0) return nvml::kUninitialized;
  const Json world = script();
  if (const Return error = scripted_error(world, function)) return error;
  return answer(world);
}

// Answers for one device.
template <class Answer>
Return of_device(const char* function, DeviceHandle device, Answer answer) {
  return global(function, [&](const Json& world) {
    const auto index = static_cast<std::size_t>(device - devices);
    const Json all = world.value("devices", Json::array());
    if (index >= all.size()) return nvml::kInvalidArgument;
    if (const Return error = scripted_error(all[index], function)) return error;
    return answer(all[index]);
  });
}

Return give_text(const std::string& text, char* to, unsigned size) {
  if (text.size() + 1 > size) return nvml::kInsufficientSize;
  std::memcpy(to, text.c_str(), text.size() + 1);
  return nvml::kSuccess;
}

Return give_number(const Json& device, const char* key, unsigned* to) {
  if (!device.contains(key)) return nvml::kNotSupported;
  *to = device[key].get<unsigned>();
  return nvml::kSuccess;
}

}  // namespace

extern "C" {

Return nvmlInitWithFlags(unsigned) {
  if (const Return error = scripted_error(script(), "nvmlInit_v2")) return error;
  const std::lock_guard lock(init_mutex);
  ++initialised;
  return nvml::kSuccess;
}

Return nvmlInit_v2() { return nvmlInitWithFlags(0); }

Return nvmlShutdown() {
  const std::lock_guard lock(init_mutex);
  if (initialised == 0) return nvml::kUninitialized;
  --initialised;
  return nvml::kSuccess;
}

const char* nvmlErrorString(Return code) {
  switch (code) {
    case nvml::kSuccess:
      return "The operation was successful";
    case nvml::kNotSupported:
      return "Not Supported";
    case nvml::kNoPermission:
      return "Insufficient Permissions";
    case nvml::kDriverNotLoaded:
      return "Driver Not Loaded";
    case nvml::kGpuIsLost:
      return "GPU is lost";
    case nvml::kResetRequired:
      return "GPU requires reset";
    default:
      return "Unknown Error";
  }
}

Return nvmlSystemGetDriverVersion(char* to, unsigned size) {
  return global(__func__, [&](const Json& world) {
    return give_text(world.value("driver_version", "570.86.15"), to, size);
  });
}

Return nvmlDeviceGetCount_v2(unsigned* count) {
  return global(__func__, [&](const Json& world) {
    *count = static_cast<unsigned>(world.value("devices", Json::array()).size());
    return nvml::kSuccess;
  });
}

Return nvmlDeviceGetHandleByIndex_v2(unsigned index, DeviceHandle* device) {
  if (index >= kMaxDevices) return nvml::kInvalidArgument;
  *device = &devices[index];
  return of_device(__func__, *device, [](const Json&) { return nvml::kSuccess; });
}

Return nvmlDeviceGetUUID(DeviceHandle device, char* to, unsigned size) {
  return of_device(__func__, device,
                   [&](const Json& one) { return give_text(one.at("uuid"), to, size); });
}

Return nvmlDeviceGetName(DeviceHandle device, char* to, unsigned size) {
  return of_device(__func__, device,
                   [&](const Json& one) { return give_text(one.at("name"), to, size); });
}

Return nvmlDeviceGetMemoryInfo(DeviceHandle device, nvml::Memory* memory) {
  return of_device(__func__, device, [&](const Json& one) {
    memory->total = one.at("memory_bytes").get<unsigned long long>();
    memory->used = one.value("used_bytes", 0ull);
    memory->free = memory->total - memory->used;
    return nvml::kSuccess;
  });
}

Return nvmlDeviceGetMinorNumber(DeviceHandle device, unsigned* minor) {
  return of_device(__func__, device,
                   [&](const Json& one) { return give_number(one, "minor", minor); });
}

Return nvmlDeviceGetPciInfo_v3(DeviceHandle device, nvml::PciInfo* pci) {
  return of_device(__func__, device, [&](const Json& one) {
    *pci = {};
    pci->bus = one.value("bus", 0u);
    std::snprintf(pci->bus_id, sizeof(pci->bus_id), "00000000:%02X:00.0", pci->bus & 0xFF);
    std::snprintf(pci->bus_id_legacy, sizeof(pci->bus_id_legacy), "0000:%02X:00.0",
                  pci->bus & 0xFF);
    return nvml::kSuccess;
  });
}

Return nvmlDeviceGetMigMode(DeviceHandle device, unsigned* current, unsigned* pending) {
  return of_device(__func__, device, [&](const Json& one) {
    const Return code = give_number(one, "mig", current);
    if (code == nvml::kSuccess) *pending = *current;
    return code;
  });
}

Return nvmlDeviceGetComputeRunningProcesses_v3(DeviceHandle device, unsigned* count,
                                               nvml::ProcessInfo* to) {
  return of_device(__func__, device, [&](const Json& one) {
    const Json processes = one.value("processes", Json::array());
    const unsigned room = *count;
    *count = static_cast<unsigned>(processes.size());
    if (processes.size() > room) return nvml::kInsufficientSize;
    for (std::size_t i = 0; i < processes.size(); ++i) {
      to[i] = nvml::ProcessInfo{.pid = processes[i].at("pid").get<unsigned>(),
                                .used_gpu_memory = processes[i].value("memory_bytes", ~0ull),
                                .gpu_instance_id = ~0u,
                                .compute_instance_id = ~0u};
    }
    return nvml::kSuccess;
  });
}

Return nvmlDeviceGetTemperature(DeviceHandle device, unsigned sensor, unsigned* celsius) {
  if (sensor != nvml::kTemperatureGpu) return nvml::kInvalidArgument;
  return of_device(__func__, device, [&](const Json& one) {
    return give_number(one, "temperature_celsius", celsius);
  });
}

Return nvmlDeviceGetPowerUsage(DeviceHandle device, unsigned* milliwatts) {
  return of_device(__func__, device, [&](const Json& one) {
    return give_number(one, "power_milliwatts", milliwatts);
  });
}

Return nvmlDeviceGetUtilizationRates(DeviceHandle device, nvml::Utilization* utilization) {
  return of_device(__func__, device, [&](const Json& one) {
    utilization->memory = 0;
    return give_number(one, "utilization_percent", &utilization->gpu);
  });
}

Return nvmlDeviceGetSupportedEventTypes(DeviceHandle device, unsigned long long* types) {
  return of_device(__func__, device, [&](const Json& one) {
    *types = one.value("event_types", 0xFull);
    return nvml::kSuccess;
  });
}

Return nvmlEventSetCreate(EventSetHandle* set) {
  return global(__func__, [&](const Json&) {
    *set = new nvml::OpaqueEventSet;
    return nvml::kSuccess;
  });
}

Return nvmlDeviceRegisterEvents(DeviceHandle device, unsigned long long types, EventSetHandle) {
  return of_device(__func__, device, [&](const Json& one) {
    const bool known = (types & ~one.value("event_types", 0xFull)) == 0;
    return known ? nvml::kSuccess : nvml::kNotSupported;
  });
}

Return nvmlEventSetWait_v2(EventSetHandle set, EventData* event, unsigned timeout_ms) {
  constexpr unsigned kLookMs = 10;
  for (unsigned waited_ms = 0;; waited_ms += kLookMs) {
    const Return code = global(__func__, [&](const Json& world) {
      const Json events = world.value("events", Json::array());
      if (set->told >= events.size()) return nvml::kTimeout;
      const Json& next = events[set->told++];
      *event = EventData{.device = &devices[next.at("device").get<std::size_t>()],
                         .type = next.at("type").get<unsigned long long>(),
                         .data = next.value("data", 0ull),
                         .gpu_instance_id = ~0u,
                         .compute_instance_id = ~0u};
      return nvml::kSuccess;
    });
    if (code != nvml::kTimeout || waited_ms >= timeout_ms) return code;
    ::usleep(kLookMs * 1000);
  }
}

Return nvmlEventSetFree(EventSetHandle set) {
  delete set;
  return nvml::kSuccess;
}

}  // extern "C"
