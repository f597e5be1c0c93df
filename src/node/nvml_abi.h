// What Ember uses of NVML's binary interface (libnvidia-ml.so.1), declared anew so that building
// needs nothing of NVIDIA's. Sizes and numbers are those of nvml.h; the driver keeps them for ever
// under a function's name with its version.
#pragma once

#include <cstdint>

namespace ember::nvml {

// Opaque in the library.
struct OpaqueDevice;
struct OpaqueEventSet;
using DeviceHandle = OpaqueDevice*;
using EventSetHandle = OpaqueEventSet*;

enum Return : int {
  kSuccess = 0,
  kUninitialized = 1,
  kInvalidArgument = 2,
  kNotSupported = 3,
  kNoPermission = 4,
  kAlreadyInitialized = 5,
  kNotFound = 6,
  kInsufficientSize = 7,
  kInsufficientPower = 8,
  kDriverNotLoaded = 9,
  kTimeout = 10,
  kIrqIssue = 11,
  kLibraryNotFound = 12,
  kFunctionNotFound = 13,
  kCorruptedInforom = 14,
  kGpuIsLost = 15,
  kResetRequired = 16,
  kOperatingSystem = 17,
  kLibRmVersionMismatch = 18,
  kInUse = 19,
  kMemory = 20,
  kNoData = 21,
  kVgpuEccNotSupported = 22,
  kInsufficientResources = 23,
  kFreqNotSupported = 24,
  kArgumentVersionMismatch = 25,
  kDeprecated = 26,
  kNotReady = 27,
  kGpuNotFound = 28,
  kInvalidState = 29,
  kResetTypeNotSupported = 30,
  kUnknown = 999,
};

inline constexpr unsigned kUuidSize = 96;           // NVML_DEVICE_UUID_V2_BUFFER_SIZE
inline constexpr unsigned kNameSize = 96;           // NVML_DEVICE_NAME_V2_BUFFER_SIZE
inline constexpr unsigned kDriverVersionSize = 80;  // NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE
inline constexpr unsigned kTemperatureGpu = 0;
inline constexpr unsigned kMigEnabled = 1;

inline constexpr unsigned long long kDoubleBitEccEvent = 0x2;
inline constexpr unsigned long long kXidEvent = 0x8;
inline constexpr unsigned long long kFatalPoisonEvent = 0x2000;
inline constexpr unsigned long long kGpuUnavailableEvent = 0x4000;

struct Memory {
  unsigned long long total, free, used;  // bytes
};
static_assert(sizeof(Memory) == 24);

struct PciInfo {
  char bus_id_legacy[16];
  unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
  char bus_id[32];  // "00000000:3B:00.0"
};
static_assert(sizeof(PciInfo) == 68);

struct ProcessInfo {
  unsigned pid;
  unsigned long long used_gpu_memory;  // bytes; all ones: not known
  unsigned gpu_instance_id, compute_instance_id;
};
static_assert(sizeof(ProcessInfo) == 24);

struct Utilization {
  unsigned gpu, memory;  // percent of time
};
static_assert(sizeof(Utilization) == 8);

struct EventData {
  DeviceHandle device;
  unsigned long long type, data;  // data: of an Xid event, its number
  unsigned gpu_instance_id, compute_instance_id;
};
static_assert(sizeof(EventData) == 32);

// One for each function, by its name in the library.
struct Functions {
  Return (*nvmlInit_v2)();
  Return (*nvmlShutdown)();
  const char* (*nvmlErrorString)(Return);
  Return (*nvmlSystemGetDriverVersion)(char*, unsigned size);
  Return (*nvmlDeviceGetCount_v2)(unsigned*);
  Return (*nvmlDeviceGetHandleByIndex_v2)(unsigned, DeviceHandle*);
  Return (*nvmlDeviceGetUUID)(DeviceHandle, char*, unsigned size);
  Return (*nvmlDeviceGetName)(DeviceHandle, char*, unsigned size);
  Return (*nvmlDeviceGetMemoryInfo)(DeviceHandle, Memory*);
  Return (*nvmlDeviceGetMinorNumber)(DeviceHandle, unsigned*);
  Return (*nvmlDeviceGetPciInfo_v3)(DeviceHandle, PciInfo*);
  Return (*nvmlDeviceGetMigMode)(DeviceHandle, unsigned* current, unsigned* pending);
  Return (*nvmlDeviceGetComputeRunningProcesses_v3)(DeviceHandle, unsigned* count, ProcessInfo*);
  Return (*nvmlDeviceGetTemperature)(DeviceHandle, unsigned sensor, unsigned* celsius);
  Return (*nvmlDeviceGetPowerUsage)(DeviceHandle, unsigned* milliwatts);
  Return (*nvmlDeviceGetUtilizationRates)(DeviceHandle, Utilization*);
  Return (*nvmlDeviceGetSupportedEventTypes)(DeviceHandle, unsigned long long*);
  Return (*nvmlEventSetCreate)(EventSetHandle*);
  Return (*nvmlDeviceRegisterEvents)(DeviceHandle, unsigned long long types, EventSetHandle);
  Return (*nvmlEventSetWait_v2)(EventSetHandle, EventData*, unsigned timeout_ms);
  Return (*nvmlEventSetFree)(EventSetHandle);
};

}  // namespace ember::nvml
