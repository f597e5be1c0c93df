// The GPUs of this machine as NVIDIA's management library tells of them. The library comes with the
// driver and is loaded at run time. Calls block, for milliseconds as a rule and for seconds on a
// sick device; one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/nvml_abi.h"

namespace ember {

enum class MigMode : std::uint8_t { off, on };

struct Gpu {
  nvml::DeviceHandle handle = nullptr;  // good while the Nvml lives
  std::uint32_t index = 0;
  std::string uuid;  // "GPU-..."
  std::string name;  // "NVIDIA H100 80GB HBM3"
  std::string pci_bus_id;
  std::int64_t memory_bytes = 0;
  std::uint32_t minor_number = 0;  // of /dev/nvidiaN
  MigMode mig = MigMode::off;
};

struct GpuProcess {
  std::int64_t pid = 0;
  std::optional<std::int64_t> memory_bytes;
};

// What changes. A reading that this kind of device has not, or that needs more rights, is absent.
struct GpuReadings {
  std::vector<GpuProcess> processes;  // that compute on it
  std::optional<std::uint32_t> temperature_celsius;
  std::optional<std::uint32_t> power_milliwatts;
  std::optional<std::uint32_t> utilization_percent;
};

// An event that speaks of a device's health.
struct GpuEvent {
  enum class Kind : std::uint8_t { xid, uncorrectable_ecc, poison, unavailable };
  nvml::DeviceHandle handle = nullptr;
  Kind kind = Kind::xid;
  std::uint64_t xid = 0;
};

class Nvml {
 public:
  // not_found: this machine has no such library. unavailable: it has one that does not work.
  static Result<std::unique_ptr<Nvml>> load(const std::string& library = "libnvidia-ml.so.1");
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  const std::string& driver_version() const { return driver_version_; }
  const std::string& library_path() const { return library_path_; }

  struct Discovery {
    std::vector<Gpu> gpus;              // by index
    std::vector<std::string> troubles;  // one line for each device that cannot be read
  };
  Result<Discovery> find_gpus() const;
  // An error: the device is lost or wants a reset.
  Result<GpuReadings> read(const Gpu& gpu) const;

  // From now on wait_for_event() tells of these devices' health. Lines: devices that have no
  // events.
  std::vector<std::string> watch(const std::vector<Gpu>& gpus);
  // Nothing where none came in time.
  Result<std::optional<GpuEvent>> wait_for_event(std::uint32_t timeout_ms) const;

 private:
  Nvml() = default;
  Result<> resolve();
  template <class Function>
  void resolve_one(const char* name, Function& function, std::string& missing);
  Result<> begin();
  Error error(const char* function, nvml::Return code) const;
  Result<Gpu> find_gpu(std::uint32_t index) const;
  nvml::Return read_processes(const Gpu& gpu, std::vector<GpuProcess>& processes) const;

  struct Closer {
    void operator()(void* library) const;
  };
  std::unique_ptr<void, Closer> library_;
  nvml::Functions call_{};
  bool begun_ = false;
  nvml::EventSetHandle events_ = nullptr;
  std::string driver_version_;
  std::string library_path_;
};

}  // namespace ember
