// Devices for tests: the stand-in for the driver's library (tests/nvml) and the script it follows.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "node/nvml.h"

namespace ember {

class NvmlScript {
 public:
  NvmlScript() : path_("/tmp/ember-nvml-" + std::to_string(::getpid()) + ".json") {
    ::setenv("NVML_STAND_IN_SCRIPT", path_.c_str(), 1);
    write();
  }
  ~NvmlScript() { std::filesystem::remove(path_); }
  NvmlScript(const NvmlScript&) = delete;
  NvmlScript& operator=(const NvmlScript&) = delete;

  nlohmann::json& device(std::size_t index) { return world_["devices"][index]; }
  nlohmann::json& world() { return world_; }
  // At once for a reader that is there: the file is replaced, never half written.
  void write() const {
    std::ofstream(path_ + ".part") << world_;
    std::filesystem::rename(path_ + ".part", path_);
  }
  static std::unique_ptr<Nvml> load() {
    auto nvml = Nvml::load(EMBER_NVML_STAND_IN);
    EXPECT_TRUE(nvml.ok()) << nvml.error().message;
    return std::move(*nvml);
  }

 private:
  static nlohmann::json card(int index, const char* name, std::int64_t memory_bytes) {
    const std::string number = std::to_string(index);
    return {{"uuid", "GPU-00000000-0000-0000-0000-00000000000" + number},
            {"name", name},
            {"memory_bytes", memory_bytes},
            {"minor", index},
            {"bus", 16 + index},
            {"temperature_celsius", 41},
            {"power_milliwatts", 72'500},
            {"utilization_percent", 3},
            {"processes", nlohmann::json::array()},
            {"errors", nlohmann::json::object()}};
  }

  const std::string path_;
  nlohmann::json world_{
      {"driver_version", "570.86.15"},
      {"errors", nlohmann::json::object()},
      {"devices",
       {card(0, "NVIDIA L4", 24'152'899'584), card(1, "NVIDIA H100 80GB HBM3", 85'520'809'984)}},
      {"events", nlohmann::json::array()}};
};

}  // namespace ember
