#include "node/gpu_grant.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "node/runner_env.h"

namespace ember {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;

class GpuGrantTest : public testing::Test {
 protected:
  GpuGrantTest() {
    char name[] = "/tmp/ember-grant-XXXXXX";
    root_ = ::mkdtemp(name);
  }
  ~GpuGrantTest() override { fs::remove_all(root_); }
  // /dev/null stands for a device's node: a character device that every machine has.
  void add_node(const std::string& name) { fs::create_symlink("/dev/null", root_ + "/" + name); }
  static Gpu gpu(std::uint32_t minor, std::string uuid) {
    Gpu one;
    one.minor_number = minor;
    one.uuid = std::move(uuid);
    return one;
  }
  std::vector<std::string> paths(const GpuGrant& grant) const {
    std::vector<std::string> all;
    for (const DeviceNode& node : grant.nodes) all.push_back(node.path.substr(root_.size() + 1));
    return all;
  }
  std::string root_;
};

TEST_F(GpuGrantTest, HoldsTheNodesOfTheGrantedDevicesAndThoseThatAllShare) {
  for (const char* name : {"nvidia0", "nvidia1", "nvidia3", "nvidiactl", "nvidia-uvm",
                           "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps"}) {
    add_node(name);
  }
  const auto grant = grant_gpus({gpu(3, "GPU-c"), gpu(0, "GPU-a")}, {}, root_);
  ASSERT_TRUE(grant.ok()) << grant.error().message;
  EXPECT_EQ(paths(*grant),
            (std::vector<std::string>{"nvidiactl", "nvidia-uvm", "nvidia3", "nvidia0"}));
  EXPECT_EQ(grant->nodes[0].major, 1u);
  EXPECT_EQ(grant->nodes[0].minor, 3u);
  EXPECT_EQ(grant->uuids, "GPU-c,GPU-a");
}

TEST_F(GpuGrantTest, OfNoDevicesIsEmptyOnAnyMachine) {
  const auto grant = grant_gpus({}, {{"libcuda.so.1", "/x"}}, root_);
  ASSERT_TRUE(grant.ok());
  EXPECT_TRUE(grant->nodes.empty() && grant->libraries.empty() && grant->uuids.empty());
}

TEST_F(GpuGrantTest, IsRefusedWhereANodeIsNotThereOrNoDevice) {
  add_node("nvidiactl");
  add_node("nvidia-uvm");
  const auto missing = grant_gpus({gpu(0, "GPU-a")}, {}, root_);
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message,
              HasSubstr(root_ + "/nvidia0 is not there; run nvidia-modprobe"));
  std::ofstream(root_ + "/nvidia0") << "a file";
  EXPECT_FALSE(grant_gpus({gpu(0, "GPU-a")}, {}, root_).ok());
}

TEST_F(GpuGrantTest, FindsTheLibrariesOfThisDriverAlone) {
  for (const char* name : {"libcuda.so.570.1", "libnvidia-ml.so.570.1", "libcuda.so.535.9",
                           "libcudart.so.12", "libother.so.570.1"}) {
    std::ofstream(root_ + "/" + name) << "library";
  }
  fs::create_symlink("libcuda.so.570.1", root_ + "/libcuda.so.1");
  fs::create_symlink("libcuda.so.1", root_ + "/libcuda.so");
  fs::create_symlink("libnvidia-ml.so.570.1", root_ + "/libnvidia-ml.so.1");
  std::vector<std::string> names;
  for (const auto& library : find_driver_libraries(root_ + "/libnvidia-ml.so.1", "570.1")) {
    names.push_back(library.name + " " + fs::path(library.host_path).filename().string());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"libcuda.so.1 libcuda.so.570.1",
                                             "libcuda.so.570.1 libcuda.so.570.1",
                                             "libnvidia-ml.so.1 libnvidia-ml.so.570.1",
                                             "libnvidia-ml.so.570.1 libnvidia-ml.so.570.1"}));
}

TEST_F(GpuGrantTest, LeavesLibrariesBelowUsrWhereEveryContainerHasThem) {
  EXPECT_TRUE(find_driver_libraries("/usr/lib/os-release", "").empty());
  EXPECT_TRUE(find_driver_libraries("", "").empty());
}

TEST_F(GpuGrantTest, TellsTheRunnerHowMuchOfADeviceItsShareIs) {
  LaunchPlan plan{{}, ContainerFiles(root_, ContainerId{1}), {}, {}, {}};
  plan.env = {{"EMBER_GPU_VRAM_BYTES", "1"}};
  plan.record.resources.gpu.share_bytes = 6'000'000'000;
  EXPECT_THAT(runner_env(plan, {}, "MARK=1"), Contains("EMBER_GPU_VRAM_BYTES=6000000000"));
}

TEST_F(GpuGrantTest, TellsTheRunnerWhichDevicesItHasWhateverTheUserSays) {
  LaunchPlan plan{{}, ContainerFiles(root_, ContainerId{1}), {}, {}, {}};
  plan.env = {{"CUDA_VISIBLE_DEVICES", "all"}, {"LD_LIBRARY_PATH", "/mine"}};
  const auto without = runner_env(plan, {}, "MARK=1");
  EXPECT_THAT(without, Contains("CUDA_VISIBLE_DEVICES="));
  EXPECT_THAT(without, Contains("NVIDIA_VISIBLE_DEVICES=void"));
  EXPECT_THAT(without, Contains("LD_LIBRARY_PATH=/mine"));
  plan.gpus.uuids = "GPU-a,GPU-b";
  plan.gpus.libraries = {{"libcuda.so.1", "/x"}};
  const auto with = runner_env(plan, {}, "MARK=1");
  EXPECT_THAT(with, Contains("CUDA_VISIBLE_DEVICES=GPU-a,GPU-b"));
  EXPECT_THAT(with, Contains("NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b"));
  EXPECT_THAT(with, Contains("LD_LIBRARY_PATH=/ember/driver:/mine"));
}

}  // namespace
}  // namespace ember
