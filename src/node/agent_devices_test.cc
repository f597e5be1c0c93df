// An agent on a machine with devices, as the stand-in for their driver tells.
#include <unistd.h>

#include "node/agent_fixture.h"
#include "node/gpu_health.h"
#include "node/gpu_inventory.h"
#include "node/nvml_fixture.h"

namespace ember {
namespace {

using ::testing::HasSubstr;

// A directory in which /dev/null stands for the devices' nodes: a character device that every
// machine has.
class DevDirectory {
 public:
  DevDirectory() {
    char name[] = "/tmp/ember-dev-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    path_ = name;
    for (const char* node : {"nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1"}) add(node);
  }
  ~DevDirectory() { std::filesystem::remove_all(path_); }
  DevDirectory(const DevDirectory&) = delete;
  DevDirectory& operator=(const DevDirectory&) = delete;

  const std::string& path() const { return path_; }
  void add(const std::string& node) const {
    std::filesystem::create_symlink("/dev/null", path_ + "/" + node);
  }
  void remove(const std::string& node) const { std::filesystem::remove(path_ + "/" + node); }

 private:
  std::string path_;
};

class AgentDevices : public AgentTest {
 protected:
  void SetUp() override {
    options_.nvml_library = EMBER_NVML_STAND_IN;
    script_.device(1)["processes"] = {{{"pid", ::getpid()}}};
    script_.write();
    options_.dev_directory = dev_.path();
    AgentTest::SetUp();
  }
  // Of the real devices, by type.
  static const Device& of(const std::vector<Device>& devices, const std::string& type) {
    static const Device kNone;
    for (const Device& device : devices) {
      if (device.type == type && !device.simulated) return device;
    }
    ADD_FAILURE() << "no real " << type;
    return kNone;
  }
  const Device& told(const std::string& type) const {
    return of(
        recorder_.devices.empty() ? recorder_.hellos.back().capacity.devices : recorder_.devices,
        type);
  }

  NvmlScript script_;
  DevDirectory dev_;
};

TEST_P(AgentDevices, AreOfferedBesideSimulatedOnesAndKeepTheirIds) {
  const auto before = recorder_.hellos.back().capacity.devices;
  EXPECT_EQ(before.size(), 5u);
  EXPECT_TRUE(std::ranges::is_sorted(before, {}, &Device::id));
  EXPECT_EQ(of(before, "L4").state, DeviceState::available);
  EXPECT_EQ(of(before, "L4").vram_bytes, 24'152'899'584);
  node_.reset();
  agent_.reset();
  std::swap(script_.device(0), script_.device(1));
  script_.write();
  start_agent();
  connect();
  EXPECT_EQ(of(recorder_.hellos.back().capacity.devices, "L4").id, of(before, "L4").id);
}

TEST_P(AgentDevices, ThatOthersUseAreNotFreeUntilTheyEnd) {
  EXPECT_EQ(told("H100").state, DeviceState::in_use);
  EXPECT_THAT(told("H100").reason, HasSubstr("process " + std::to_string(::getpid())));
  ContainerSpec one = spec(1);
  one.devices = {told("H100").id};
  node_->start(one, {});
  run_until([&] { return recorder_.refused.contains(one.container); });
  EXPECT_THAT(recorder_.refused[one.container], HasSubstr("is not available: used by process"));
  script_.device(1)["processes"] = nlohmann::json::array();
  script_.write();
  run_until([&] { return told("H100").state == DeviceState::available; });
}

TEST_P(AgentDevices, ThatFallSickAreCordonedForGood) {
  script_.world()["events"] = {{{"device", 0}, {"type", 8}, {"data", 79}}};
  script_.write();
  run_until([&] { return told("L4").state == DeviceState::cordoned; }, std::chrono::seconds(5));
  EXPECT_EQ(told("L4").reason, "Xid 79: it has fallen off the bus");
  script_.device(1)["errors"] = {{"nvmlDeviceGetTemperature", 15}};
  script_.write();
  run_until([&] { return told("H100").state == DeviceState::cordoned; }, std::chrono::seconds(5));
  EXPECT_THAT(told("H100").reason, HasSubstr("GPU is lost"));
  script_.device(1)["errors"] = nlohmann::json::object();
  script_.write();
  connect();
  EXPECT_EQ(of(recorder_.hellos.back().capacity.devices, "H100").state, DeviceState::cordoned);
}

TEST_P(AgentDevices, ThatNoProgramCanOpenAreNotOfferedUntilTheirNodesAreThere) {
  dev_.remove("nvidia0");
  run_until([&] { return told("L4").state == DeviceState::unreachable; });
  EXPECT_THAT(told("L4").reason, HasSubstr("nvidia0 is not there; run nvidia-modprobe"));
  dev_.add("nvidia0");
  run_until([&] { return told("L4").state == DeviceState::available; });
}

TEST_P(AgentDevices, AreGivenToNoContainerWhenTheirNodesHaveJustGone) {
  dev_.remove("nvidiactl");
  ContainerSpec one = spec(1);
  one.devices = {told("L4").id};
  node_->start(one, {});
  run_until([&] { return recorder_.refused.contains(one.container); });
  EXPECT_THAT(recorder_.refused[one.container], HasSubstr("nvidiactl is not there"));
}

TEST_P(AgentDevices, AreSharedAsFarAsTheirMemoryGoesAndWhoTakesMoreIsEnded) {
  constexpr std::int64_t kTen = 10'000'000'000;
  for (const std::uint64_t number : {1, 2, 3}) {
    ContainerSpec one = spec(number);
    one.devices = {told("L4").id};
    one.resources.gpu.share_bytes = kTen;
    node_->start(one, {});
  }
  run_until([&] { return recorder_.runners.size() == 2 && recorder_.refused.size() == 1; });
  EXPECT_THAT(recorder_.refused[id(3)], HasSubstr("has 4.2 GB left, not 10 GB"));
  const auto uses = [](std::uint64_t number, std::int64_t bytes) -> nlohmann::json {
    const auto processes = processes_with_env("EMBER_CONTAINER_ID=" + id(number).text());
    EXPECT_FALSE(processes.empty());
    return {{"pid", processes.back()}, {"memory_bytes", bytes}};
  };
  script_.device(0)["processes"] = {uses(1, kTen), uses(2, kTen + 1'000'000'000)};
  script_.write();
  run_until([&] { return !recorder_.exits.empty(); });
  EXPECT_EQ(recorder_.exits[0].container, id(2));
  EXPECT_EQ(recorder_.exits[0].gpu_used_bytes, kTen + 1'000'000'000);
  EXPECT_EQ(told("L4").state, DeviceState::available);
  script_.device(0)["processes"] = {{{"pid", uses(1, 0)["pid"]}}};
  script_.write();
  run_until([&] { return !recorder_.missing.empty(); });
  EXPECT_THAT(recorder_.missing.back(), HasSubstr("shares of GPUs are not watched"));
}

INSTANTIATE_TEST_SUITE_P(Isolation, AgentDevices, isolations_with_devices(), setting_name);

TEST(GpuHealth, AProgramsOwnFaultSaysNothingAgainstTheDevice) {
  for (const std::uint64_t xid : {8, 13, 31, 43, 45, 63, 68, 92, 94, 109}) {
    EXPECT_EQ(cordon_reason({.kind = GpuEvent::Kind::xid, .xid = xid}), std::nullopt) << xid;
  }
}

TEST(GpuHealth, AnyOtherXidAndAnUncorrectableErrorCordonTheDevice) {
  for (const std::uint64_t xid : {46, 48, 62, 64, 74, 79, 95, 119, 120, 140, 143, 9999}) {
    const auto reason = cordon_reason({.kind = GpuEvent::Kind::xid, .xid = xid});
    ASSERT_TRUE(reason) << xid;
    EXPECT_THAT(*reason, HasSubstr("Xid " + std::to_string(xid)));
  }
  for (const auto kind :
       {GpuEvent::Kind::uncorrectable_ecc, GpuEvent::Kind::poison, GpuEvent::Kind::unavailable}) {
    EXPECT_TRUE(cordon_reason({.kind = kind}));
  }
}

TEST(GpuInventory, LeavesADeviceInMigModeAloneWhateverRunsThere) {
  NvmlScript script;
  script.device(0)["mig"] = 1;
  script.device(0)["processes"] = {{{"pid", 1}}};
  script.write();
  boost::asio::io_context loop(1);
  GpuInventory gpus(EMBER_NVML_STAND_IN, "/dev");
  gpus.watch(loop, {.is_ours = [](DeviceId, std::int64_t) { return false; },
                    .on_change = [] {},
                    .on_processes = [](DeviceId, const auto&) {}});
  EXPECT_EQ(gpus.devices()[0].state, DeviceState::mig);
  EXPECT_THAT(gpus.devices()[0].reason, HasSubstr("MIG"));
  EXPECT_TRUE(gpus.troubles().empty());
}

TEST(GpuInventory, AProcessOfTheContainerThatHoldsTheDeviceIsOurs) {
  NvmlScript script;
  script.device(0)["processes"] = {{{"pid", 1}}};
  script.write();
  const DevDirectory dev;
  boost::asio::io_context loop(1);
  GpuInventory gpus(EMBER_NVML_STAND_IN, dev.path());
  const DeviceId held = gpus.devices()[0].id;
  gpus.watch(loop,
             {.is_ours = [&](DeviceId id, std::int64_t pid) { return id == held && pid == 1; },
              .on_change = [] {},
              .on_processes = [](DeviceId, const auto&) {}});
  EXPECT_EQ(gpus.devices()[0].state, DeviceState::available);
}

TEST(GpuInventory, IsEmptyAndQuietWithoutADriverAndSaysWhereOneFails) {
  const GpuInventory none("libnot-there.so.1", "/dev");
  EXPECT_TRUE(none.devices().empty() && none.troubles().empty());
  NvmlScript script;
  script.world()["errors"] = {{"nvmlInit_v2", 9}};
  script.write();
  const GpuInventory failing(EMBER_NVML_STAND_IN, "/dev");
  EXPECT_TRUE(failing.devices().empty());
  EXPECT_THAT(failing.troubles().at(0), HasSubstr("Driver Not Loaded"));
}

}  // namespace
}  // namespace ember
