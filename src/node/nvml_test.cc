#include "node/nvml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "node/nvml_fixture.h"

namespace ember {
namespace {

using ::testing::HasSubstr;

TEST(Nvml, ReadsWhatADeviceIs) {
  NvmlScript script;
  const auto nvml = NvmlScript::load();
  EXPECT_EQ(nvml->driver_version(), "570.86.15");
  const auto found = nvml->find_gpus();
  ASSERT_TRUE(found.ok()) << found.error().message;
  ASSERT_EQ(found->gpus.size(), 2u);
  EXPECT_TRUE(found->troubles.empty());
  const Gpu& gpu = found->gpus[1];
  EXPECT_EQ(gpu.index, 1u);
  EXPECT_EQ(gpu.uuid, "GPU-00000000-0000-0000-0000-000000000001");
  EXPECT_EQ(gpu.name, "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(gpu.pci_bus_id, "00000000:11:00.0");
  EXPECT_EQ(gpu.memory_bytes, 85'520'809'984);
  EXPECT_EQ(gpu.minor_number, 1u);
  EXPECT_EQ(gpu.mig, MigMode::off);
}

TEST(Nvml, SeesThatADeviceIsInMigMode) {
  NvmlScript script;
  script.device(1)["mig"] = 1;
  script.write();
  EXPECT_EQ(NvmlScript::load()->find_gpus()->gpus[1].mig, MigMode::on);
}

TEST(Nvml, ReadsProcessesHoweverManyThereAre) {
  NvmlScript script;
  for (int pid = 1; pid <= 100; ++pid) script.device(0)["processes"].push_back({{"pid", pid}});
  script.device(0)["processes"][0]["memory_bytes"] = 512 << 20;
  script.write();
  const auto nvml = NvmlScript::load();
  const auto readings = nvml->read(nvml->find_gpus()->gpus[0]);
  ASSERT_TRUE(readings.ok());
  ASSERT_EQ(readings->processes.size(), 100u);
  EXPECT_EQ(readings->processes[0].memory_bytes, 512 << 20);
  EXPECT_EQ(readings->processes[99].pid, 100);
  EXPECT_EQ(readings->processes[99].memory_bytes, std::nullopt);
}

TEST(Nvml, ReadsTemperaturePowerAndUse) {
  NvmlScript script;
  const auto nvml = NvmlScript::load();
  const auto readings = nvml->read(nvml->find_gpus()->gpus[0]);
  ASSERT_TRUE(readings.ok());
  EXPECT_EQ(readings->temperature_celsius, 41u);
  EXPECT_EQ(readings->power_milliwatts, 72'500u);
  EXPECT_EQ(readings->utilization_percent, 3u);
}

TEST(Nvml, AReadingThatTheDeviceHasNotIsAbsentAndHarmsNoOther) {
  const nvml::Return codes[] = {nvml::kNotSupported, nvml::kNoPermission, nvml::kUnknown,
                                nvml::kNotReady, nvml::kTimeout};
  for (const nvml::Return code : codes) {
    NvmlScript script;
    script.device(0)["errors"] = {{"nvmlDeviceGetPowerUsage", static_cast<int>(code)}};
    script.write();
    const auto nvml = NvmlScript::load();
    const auto readings = nvml->read(nvml->find_gpus()->gpus[0]);
    ASSERT_TRUE(readings.ok());
    EXPECT_EQ(readings->power_milliwatts, std::nullopt);
    EXPECT_EQ(readings->temperature_celsius, 41u);
  }
}

TEST(Nvml, ADeviceThatIsLostOrWantsAResetIsAnErrorOfItsReadings) {
  for (const nvml::Return code : {nvml::kGpuIsLost, nvml::kResetRequired, nvml::kGpuNotFound}) {
    NvmlScript script;
    script.device(0)["errors"] = {{"nvmlDeviceGetTemperature", static_cast<int>(code)}};
    script.write();
    const auto nvml = NvmlScript::load();
    const auto readings = nvml->read(nvml->find_gpus()->gpus[0]);
    ASSERT_FALSE(readings.ok());
    EXPECT_THAT(readings.error().message, HasSubstr("nvmlDeviceGetTemperature"));
    EXPECT_THAT(readings.error().message, HasSubstr(std::to_string(static_cast<int>(code))));
  }
}

TEST(Nvml, ADeviceThatCannotBeReadIsNamedAndTheOthersAreFound) {
  for (const char* function :
       {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID", "nvmlDeviceGetName",
        "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMinorNumber", "nvmlDeviceGetPciInfo_v3",
        "nvmlDeviceGetMigMode"}) {
    NvmlScript script;
    script.device(0)["errors"] = {{function, 15}};
    script.write();
    const auto found = NvmlScript::load()->find_gpus();
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->gpus.size(), 1u);
    ASSERT_EQ(found->troubles.size(), 1u);
    EXPECT_EQ(found->troubles[0], "GPU 0: " + std::string(function) + ": GPU is lost (15)");
  }
}

TEST(Nvml, AMachineWithoutTheLibraryIsToldApartFromOneWhereItFails) {
  EXPECT_EQ(Nvml::load("libnot-there.so.1").error().code, ErrorCode::not_found);
  NvmlScript script;
  script.world()["errors"] = {{"nvmlInit_v2", 9}};
  script.write();
  const auto failed = Nvml::load(EMBER_NVML_STAND_IN);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::unavailable);
  EXPECT_EQ(failed.error().message, "nvmlInit_v2: Driver Not Loaded (9)");
}

TEST(Nvml, ALibraryThatLacksFunctionsIsRefusedWithTheirNames) {
  const auto failed = Nvml::load("libc.so.6");
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::unavailable);
  EXPECT_THAT(failed.error().message, HasSubstr("nvmlDeviceGetComputeRunningProcesses_v3"));
  EXPECT_THAT(failed.error().message, HasSubstr("install a newer driver"));
}

TEST(Nvml, TellsEventsInOrderAndWaitsForMore) {
  NvmlScript script;
  script.world()["events"] = {{{"device", 1}, {"type", 8}, {"data", 79}},
                              {{"device", 0}, {"type", 2}}};
  script.write();
  const auto nvml = NvmlScript::load();
  const auto gpus = nvml->find_gpus()->gpus;
  EXPECT_TRUE(nvml->watch(gpus).empty());
  const auto first = nvml->wait_for_event(1000);
  ASSERT_TRUE(first.ok() && *first);
  EXPECT_EQ((*first)->handle, gpus[1].handle);
  EXPECT_EQ((*first)->kind, GpuEvent::Kind::xid);
  EXPECT_EQ((*first)->xid, 79u);
  EXPECT_EQ((**nvml->wait_for_event(1000)).kind, GpuEvent::Kind::uncorrectable_ecc);
  const auto none = nvml->wait_for_event(1);
  EXPECT_TRUE(none.ok() && !*none);
}

TEST(Nvml, SaysWhichDevicesHaveNoEvents) {
  NvmlScript script;
  script.device(0)["errors"] = {{"nvmlDeviceRegisterEvents", 3}};
  script.write();
  const auto nvml = NvmlScript::load();
  const auto unwatched = nvml->watch(nvml->find_gpus()->gpus);
  ASSERT_EQ(unwatched.size(), 1u);
  EXPECT_EQ(unwatched[0], "GPU 0: health events: nvmlDeviceRegisterEvents: Not Supported (3)");
}

}  // namespace
}  // namespace ember
