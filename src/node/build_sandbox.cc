#include "node/build_sandbox.h"

#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/disk_error.h"
#include "node/crun.h"
#include "node/root_filesystem.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kMaxBuilds = 4;
constexpr std::int64_t kMillicores = 1000;
constexpr std::int64_t kShownRootBytes = 1 << 20;  // nobody writes there
constexpr std::int64_t kLeastMemoryBytes = 2ll << 30;

Resources resources_of_a_build() {
  const std::int64_t machine =
      static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  return {.cpu_millicores = kMillicores,
          .memory_bytes = std::max(kLeastMemoryBytes, machine / 2),
          .gpu = {}};
}

bool become_root_of(int user_namespace) {
  return ::setns(user_namespace, CLONE_NEWUSER) == 0 && ::setgroups(0, nullptr) == 0 &&
         ::setresgid(0, 0, 0) == 0 && ::setresuid(0, 0, 0) == 0 &&
         ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

}  // namespace

BuildSandboxes::BuildSandboxes(OciSetup setup) : setup_(std::move(setup)) {
  for (std::uint32_t i = 0; i < kMaxBuilds; ++i) free_slots_.push_back(kFirstBuildSlot + i);
  end_marked_processes(mark());
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(setup_.directory.path + "/builds", ignored)) {
    if (const auto id = ContainerId::parse(entry.path().filename().string())) {
      setup_.cgroups.remove(*id, Cgroups::Patience::long_enough);
      fs::remove_all(setup_.directory.path + "/crun/" + id->text(), ignored);
    }
  }
  fs::remove_all(setup_.directory.path + "/builds", ignored);
}

std::string BuildSandboxes::mark() const {
  return "EMBER_BUILD_OF=" + setup_.directory.node.text();
}

std::unique_ptr<BuildSandbox> BuildSandboxes::make(const std::string& directory) {
  if (free_slots_.empty()) return nullptr;
  const std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  // Apart from containers' ids, which chance makes, by its smallness.
  return std::unique_ptr<BuildSandbox>(
      new BuildSandbox(*this, ContainerId{next_id_++}, slot, directory));
}

BuildSandbox::BuildSandbox(BuildSandboxes& owner, ContainerId id, std::uint32_t slot,
                           std::string directory)
    : owner_(owner), id_(id), slot_(slot), directory_(std::move(directory)) {}

BuildSandbox::~BuildSandbox() {
  end();
  std::error_code ignored;
  fs::remove_all(owner_.setup_.directory.path + "/builds/" + id_.text(), ignored);
  owner_.free_slots_.push_back(slot_);
}

std::uint32_t BuildSandbox::first_id() const { return first_id_of(slot_); }

Result<Command> BuildSandbox::command(const BuildRun& run) {
  end();
  auto users = owner_.id_maps_.from(first_id());
  if (!users.ok()) return std::move(users).error();
  const OciSetup& setup = owner_.setup_;
  const auto stage = std::make_shared<Stage>();
  std::vector<StagedDirectory> directories;
  stage_root(*stage, {.lowers = root_directories(run.image, setup.rootfs, setup.mount_points),
                      .upper = run.upper,
                      .memory_bytes = scratch_space(resources_of_a_build()),
                      .first_id = first_id(),
                      .user_namespace = *users});
  if (!run.shown_root.empty()) {
    stage_root(*stage, {.name = "image",
                        .lowers = run.shown_root,
                        .upper = "",
                        .memory_bytes = kShownRootBytes,
                        .first_id = first_id(),
                        .user_namespace = *users});
    directories.push_back({"image", "/ember/image"});
  }
  for (std::size_t i = 0; i < run.mounts.size(); ++i) {
    const std::string name = "mount-" + std::to_string(i);
    const BuildMount& mount = run.mounts[i];
    if (fs::is_directory(mount.host_path)) {
      stage->add_idmapped(name, mount.host_path, *users, mount.access);
    } else {
      stage->add(name, mount.host_path);
    }
    directories.push_back({name, mount.destination, mount.access});
  }
  for (std::size_t i = 0; i < run.image.packages.size(); ++i) {
    const std::string number = std::to_string(i);
    stage->add("layer-" + number, run.image.packages[i]);
    directories.push_back({"layer-" + number, "/ember/layers/" + number});
  }
  if (run.files >= 0) {
    stage->add_open_directory("files", UniqueFd(::dup(run.files)));
    directories.push_back({"files", "/ember/files"});
  }
  const std::string bundle = setup.directory.path + "/builds/" + id_.text();
  std::error_code error;
  fs::create_directories(bundle, error);
  if (error) return disk_error(bundle, error.value());
  std::vector<std::string> env{owner_.mark(), mark()};
  env.insert(env.end(), run.env.begin(), run.env.end());
  using Kind = BundleNetwork::Kind;
  const Resources resources = resources_of_a_build();
  const std::string config = config_json(
      {.argv = run.argv,
       .env = std::move(env),
       .working_directory = run.working_directory,
       .root = {.has_machine_usr = run.image.on_host, .access = MountAccess::read_write},
       .privileges = run.privileges,
       .resources = resources,
       .container = id_,
       .slot = slot_,
       .directories = std::move(directories),
       .usr_mounts = run.image.on_host ? mounts_in_usr() : std::vector<std::string>(),
       .gpus = {},
       .network = run.network.empty() ? BundleNetwork{Kind::loopback_alone, ""}
                                      : BundleNetwork{Kind::made_before, run.network},
       .cgroups = setup.cgroups});
  auto written = write_file(bundle + "/config.json", config, 0600);
  if (!written.ok()) return std::move(written).error();
  Command command = crun_command({.crun = setup.crun,
                                  .state_directory = setup.directory.path + "/crun",
                                  .cgroups = setup.cgroups,
                                  .bundle = bundle,
                                  .container = id_,
                                  .mark = owner_.mark(),
                                  .options = {},
                                  .output = run.output},
                                 *stage);
  command.steps = kept_by(stage, std::move(command.steps));
  return command;
}

Result<Command> BuildSandbox::on_machine(const MachineRun& run) {
  auto users = owner_.id_maps_.from(first_id());
  if (!users.ok()) return std::move(users).error();
  const auto stage = std::make_shared<Stage>();
  stage->add_idmapped("part", run.part, *users, MountAccess::read_write);
  Command command;
  command.argv = {"/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"};
  command.argv.insert(command.argv.end(), run.argv.begin(), run.argv.end());
  command.env = run.env;
  command.env.insert(command.env.begin(), owner_.mark());
  command.output = run.output;
  command.steps = kept_by(stage, stage->steps());
  command.steps.push_back(
      {"become the build's user", [users = *users] { return become_root_of(users); }});
  return command;
}

std::string BuildSandbox::mark() const {
  return "EMBER_BUILD=" + owner_.setup_.directory.node.text() + "/" + id_.text();
}

void BuildSandbox::end() {
  const OciSetup& setup = owner_.setup_;
  if (!setup.cgroups.usable()) end_marked_processes(mark());
  setup.cgroups.remove(id_, Cgroups::Patience::long_enough);
  std::error_code ignored;
  fs::remove_all(setup.directory.path + "/crun/" + id_.text(), ignored);
}

bool BuildSandbox::ran_out_of_memory() const {
  return owner_.setup_.cgroups.ran_out_of_memory(id_);
}

}  // namespace ember
