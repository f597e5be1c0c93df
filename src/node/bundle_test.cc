#include "node/bundle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace ember {
namespace {

// A bundle of which a test sets what it is about.
struct AnyBundle {
  ~AnyBundle() { cgroups.remove_parents(); }
  nlohmann::json config() const {
    const Bundle bundle{.argv = {"python3"},
                        .env = {},
                        .resources = resources,
                        .container = ContainerId{7},
                        .directories = {},
                        .volumes = volumes,
                        .usr_mounts = usr_mounts,
                        .gpus = grant,
                        .network = network,
                        .cgroups = cgroups,
                        .processes = processes};
    return nlohmann::json::parse(config_json(bundle));
  }

  const Cgroups cgroups{NodeId{1}};
  Resources resources;
  std::vector<StagedVolume> volumes;
  std::vector<std::string> usr_mounts;
  GpuGrant grant;
  BundleNetwork network;
  ProcessesCounted processes = ProcessesCounted::by_the_machine;
};

struct GpuBundle : AnyBundle {
  GpuBundle() {
    grant.nodes = {
        {"/dev/nvidiactl", 195, 255}, {"/dev/nvidia-uvm", 510, 0}, {"/dev/nvidia2", 195, 2}};
    grant.libraries = {{"libcuda.so.1", "/opt/driver/libcuda.so.570.86.15"}};
    grant.uuids = "GPU-2";
  }
};

TEST(Bundle, SharesScarceCoresByWhatIsAskedForAndLendsSpareOnes) {
  AnyBundle bundle;
  if (!bundle.cgroups.has("cpu")) GTEST_SKIP() << "no CPU limits on this machine";
  bundle.resources.cpu_millicores = 500;
  const auto cpu = bundle.config()["linux"]["resources"]["cpu"];
  EXPECT_EQ(cpu["shares"], 512);  // of 1024 for a core
  EXPECT_EQ(cpu["quota"].get<std::int64_t>() / cpu["period"].get<std::int64_t>(), 16);
}

TEST(Bundle, LimitsProcessesThatTheRuntimeAloneCountsByTheFirstOnesOwnLimit) {
  AnyBundle bundle;
  const auto limits_of_first_process = [&] {
    std::string names;
    const auto config = bundle.config();
    for (const auto& one : config["process"]["rlimits"]) {
      names += one["type"].get<std::string>() + " ";
    }
    return names;
  };
  EXPECT_EQ(limits_of_first_process(), "RLIMIT_NOFILE RLIMIT_CORE ");
  bundle.processes = ProcessesCounted::by_the_runtime;
  EXPECT_EQ(limits_of_first_process(), "RLIMIT_NOFILE RLIMIT_CORE RLIMIT_NPROC ");
}

TEST(Bundle, JoinsTheNetworkThatWasMadeForItOrHasCrunMakeAnEmptyOne) {
  using Kind = BundleNetwork::Kind;
  const auto network_of = [](BundleNetwork network) {
    AnyBundle bundle;
    bundle.network = std::move(network);
    const auto config = bundle.config();
    for (const auto& one : config["linux"]["namespaces"]) {
      if (one["type"] == "network") return one.value("path", "a new one");
    }
    return std::string("the machine's");
  };
  EXPECT_EQ(network_of({Kind::of_the_machine, ""}), "the machine's");
  EXPECT_EQ(network_of({Kind::made_before, "/proc/7/fd/60"}), "/proc/7/fd/60");
  EXPECT_EQ(network_of({Kind::loopback_alone, ""}), "a new one");
}

TEST(Bundle, GivesTheGrantedDeviceNodesAndNoOther) {
  const auto nodes = GpuBundle().config()["linux"]["devices"];
  ASSERT_EQ(nodes.size(), 3u);
  EXPECT_EQ(nodes[2]["path"], "/dev/nvidia2");
  EXPECT_EQ(nodes[2]["type"], "c");
  EXPECT_EQ(nodes[2]["major"], 195);
  EXPECT_EQ(nodes[2]["minor"], 2);
}

TEST(Bundle, LetsTheContainerUseTheGrantedDevicesAndNoOther) {
  if (!GpuBundle().cgroups.usable()) GTEST_SKIP() << "no cgroups on this machine";
  const auto rules = GpuBundle().config()["linux"]["resources"]["devices"];
  ASSERT_EQ(rules.size(), 4u);
  EXPECT_EQ(rules[0], (nlohmann::json{{"allow", false}, {"access", "rwm"}}));
  for (std::size_t i = 1; i < rules.size(); ++i) EXPECT_EQ(rules[i]["access"], "rw");
  EXPECT_EQ(rules[3]["minor"], 2);
}

TEST(Bundle, BindsTheDriversLibrariesReadOnlyWhereTheyAreNotInUsr) {
  const auto mounts = GpuBundle().config()["mounts"];
  nlohmann::json library;
  for (const auto& mount : mounts) {
    if (mount["destination"] == "/ember/driver/libcuda.so.1") library = mount;
  }
  ASSERT_FALSE(library.is_null());
  EXPECT_EQ(library["source"], "/mnt/driver-libcuda.so.1");
  EXPECT_NE(std::ranges::find(library["options"], "ro"), library["options"].end());
}

TEST(Bundle, BindsWhatIsMountedWithinUsrToo) {
  GpuBundle gpus;
  gpus.usr_mounts = {"/usr/local/nvidia"};
  const auto mounts = gpus.config()["mounts"];
  EXPECT_EQ(mounts[0]["destination"], "/usr");
  EXPECT_EQ(mounts[1]["destination"], "/usr/local/nvidia");
  EXPECT_NE(std::ranges::find(mounts[1]["options"], "ro"), mounts[1]["options"].end());
}

TEST(Bundle, RunsNoHooks) { EXPECT_FALSE(GpuBundle().config().contains("hooks")); }

TEST(Bundle, OfAContainerWithoutDevicesHasNothingOfTheDriver) {
  const auto config = AnyBundle().config();
  EXPECT_TRUE(config["linux"]["devices"].empty());
  EXPECT_EQ(config.dump().find("nvidia"), std::string::npos);
  EXPECT_EQ(config.dump().find("/ember/driver"), std::string::npos);
}

TEST(Bundle, HasMemoryForSecretsAndLetsNoCoreGo) {
  const auto config = AnyBundle().config();
  const auto mounts = config["mounts"];
  const auto run = std::ranges::find_if(
      mounts, [](const auto& mount) { return mount["destination"] == "/run"; });
  ASSERT_NE(run, mounts.end());
  EXPECT_EQ((*run)["type"], "tmpfs");
  const auto limits = config["process"]["rlimits"];
  const auto core = std::ranges::find_if(
      limits, [](const auto& limit) { return limit["type"] == "RLIMIT_CORE"; });
  ASSERT_NE(core, limits.end());
  EXPECT_EQ((*core)["hard"], 1) << "0 is for files, 1 for programs too that cores are sent to";
}

TEST(BundleTest, VolumesAreMountedLastAndWrittenOnlyWhereTheyMayBe) {
  AnyBundle bundle;
  bundle.volumes = {{"v0", "/root/models", MountAccess::read_write},
                    {"v1", "/data", MountAccess::read_only}};
  const auto mounts = bundle.config()["mounts"];
  const auto& first = mounts[mounts.size() - 2];
  const auto& second = mounts[mounts.size() - 1];
  EXPECT_EQ(first["destination"], "/root/models");
  EXPECT_EQ(first["source"], "/mnt/v0");
  EXPECT_EQ(first["options"], (nlohmann::json{"rbind", "rw", "nosuid", "nodev"}));
  EXPECT_EQ(second["options"], (nlohmann::json{"rbind", "ro", "nosuid", "nodev"}));
}

}  // namespace
}  // namespace ember
