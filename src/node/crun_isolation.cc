#include "node/crun_isolation.h"

#include <signal.h>
#include <sys/mount.h>

#include <filesystem>

#include "node/bundle.h"
#include "node/mount_table.h"
#include "node/runner_env.h"
#include "node/stage.h"
#include "node/volume_remount.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kErrorOutput = 2 << 10;
// The init ends with the runner's exit status, or with this and the signal that ended the runner.
constexpr int kEndedBySignal = 128;

// So that the driver, without privileges, can read what the file system notes of a directory that
// stands in the place of another.
constexpr const char* kVolumeOptions = "userxattr,index=off";

// A launch on its way, kept by the callbacks that bring it on.
struct Launch {
  LaunchPlan plan;
  Stage stage;
  std::vector<StagedDirectory> directories;
  std::vector<StagedVolume> volumes;
  Network network;
  UniqueFd output;
  std::function<void(Result<pid_t>)> done;
};

// crun refuses a v2 hierarchy that stands beside v1 ones; hidden from it, all limits are set.
bool hide_v2_beside_v1() {
  return ::mount("ember", "/sys/fs/cgroup/unified", "tmpfs", 0, nullptr) == 0;
}

// Drivers and toolkits often come so.
std::vector<std::string> mounts_in_usr() {
  return mount_points_below("/usr", read_file("/proc/self/mountinfo").value_or(""));
}

class CrunIsolation final : public Isolation {
 public:
  CrunIsolation(ProcessTable& processes, CrunSetup setup)
      : processes_(processes), setup_(std::move(setup)) {}

  ~CrunIsolation() override { setup_.cgroups.remove_parents(); }

  std::string_view name() const override { return "container"; }

  void launch(LaunchPlan plan, UniqueFd source, std::function<void(Result<pid_t>)> done) override {
    auto launch =
        std::make_shared<Launch>(Launch{std::move(plan), {}, {}, {}, {}, {}, std::move(done)});
    set_stage(*launch, std::move(source));
    if (auto staged = stage_volumes(*launch); !staged.ok()) {
      return launch->done(std::move(staged).error());
    }
    if (!setup_.networks->makes() || launch->plan.network == NetworkAccess::none) {
      return run(launch);
    }
    setup_.networks->take([this, launch](Result<Network> network) {
      if (!network.ok()) return launch->done(std::move(network).error());
      launch->network = std::move(*network);
      run(launch);
    });
  }

  void remount(const ContainerMeta& record, pid_t runner, VolumeDirectories volume, uid_t owner,
               std::function<void(Result<>)> done) override {
    // Lives until the child that stands on it has ended.
    auto stage = std::make_shared<Stage>();
    const std::string path = volume.path;
    auto staged = stage_volume(*stage, "v", record, std::move(volume), owner);
    if (!staged.ok()) return done(std::move(staged).error());
    Command command;
    command.argv = {"/nothing/is/executed"};
    command.steps = stage->steps();
    for (PreparationStep& step : remount_steps(runner, "v", path)) {
      command.steps.push_back(std::move(step));
    }
    auto pid = processes_.run(command, [stage, done](ProcessEnd end) {
      if (end.exit_status == kRemounted) return done(Ok{});
      if (end.exit_status == kVolumeBusy) {
        return done(Error{ErrorCode::conflict,
                          "files of the volume are open; close them (and leave its directories), "
                          "then reload"});
      }
      done(Error{ErrorCode::unavailable, "the volume could not be mounted anew"});
    });
    if (!pid.ok()) done(std::move(pid).error());
  }

  bool owns(const ContainerMeta& record, pid_t runner, const ucred& peer) const override {
    const pid_t pid = setup_.init.empty() ? runner : first_child_of(runner);
    return peer.pid == pid && is_user_of(record, peer.uid);
  }

  bool has_process(const ContainerMeta& record, pid_t process) const override {
    const auto user = process_user(process);
    return user && is_user_of(record, *user);
  }

  // It is the first process of its namespace: with it goes every other one.
  void kill_all(const ContainerMeta&, pid_t runner) override {
    if (runner > 0) processes_.signal(runner, SIGKILL);
  }

  ProcessEnd end_of_runner(ProcessEnd end) const override {
    const int signal = end.exit_status - kEndedBySignal;
    if (setup_.init.empty() || signal <= 0 || signal >= NSIG) return end;
    return {.exit_status = -1, .signal = signal};
  }

  bool watch_network(const ContainerMeta& record, std::function<void()> on_end) override {
    const auto network = network_of(record);
    return !network || setup_.networks->watch(*network, std::move(on_end));
  }

  std::optional<std::int64_t> egress_bytes(const ContainerMeta& record) const override {
    const auto network = network_of(record);
    return network ? setup_.networks->egress_bytes(*network) : std::nullopt;
  }

  // The network goes last: until then it holds the namespace, and the count of all that left it.
  Remains clean_up(const ContainerMeta& record, pid_t) override {
    const bool out_of_memory = setup_.cgroups.ran_out_of_memory(record.container);
    end_marked_processes(mark_of(record));
    setup_.cgroups.remove(record.container);
    std::error_code ignored;
    fs::remove_all(state_directory() + "/" + record.container.text(), ignored);
    const Remains remains{out_of_memory ? OutOfMemory::yes : OutOfMemory::no, egress_bytes(record)};
    if (const auto network = network_of(record)) setup_.networks->end(*network);
    return remains;
  }

 private:
  static bool is_user_of(const ContainerMeta& record, uid_t user) {
    const uid_t first = kFirstContainerUid + record.slot * kUidsPerContainer;
    return user >= first && user - first < kUidsPerContainer;
  }

  // The record of the container's own network.
  std::optional<std::string> network_of(const ContainerMeta& record) const {
    return ContainerFiles(setup_.directory.path, record.container).read_network();
  }

  std::string mark_of(const ContainerMeta& record) const {
    return container_mark(setup_.directory.node, record.container);
  }

  std::string state_directory() const { return setup_.directory.path + "/crun"; }

  void set_stage(Launch& launch, UniqueFd source) {
    const auto add = [&](const std::string& name, const std::string& host_path,
                         const std::string& destination) {
      launch.stage.add(name, host_path);
      launch.directories.push_back({name, destination});
    };
    stage_root(launch);
    for (const char* name : {"ssl", "alternatives"}) {
      const std::string path = std::string("/etc/") + name;
      std::error_code ignored;
      if (fs::is_directory(path, ignored)) add(name, path, path);
    }
    for (const PythonDirectory& package : setup_.directory.python) {
      add("python-" + package.name, package.host_path, "/ember/python/" + package.name);
    }
    for (std::size_t i = 0; i < launch.plan.layers.size(); ++i) {
      const std::string number = std::to_string(i);
      add("layer-" + number, launch.plan.layers[i], "/ember/layers/" + number);
    }
    for (const DriverLibrary& library : launch.plan.gpus.libraries) {
      launch.stage.add(staged_name(library), library.host_path);
    }
    add("run", launch.plan.files.run_directory(), "/ember/run");
    if (source) {
      launch.stage.add_open_directory("source", std::move(source));
      launch.directories.push_back({"source", "/source"});
    }
  }

  // Volumes need places to be mounted at, which the root that all share does not have.
  void stage_root(Launch& launch) const {
    if (launch.plan.volumes.empty()) return launch.stage.add("rootfs", setup_.rootfs);
    std::vector<std::string> places;
    for (const VolumeDirectories& volume : launch.plan.volumes) {
      places.push_back(volume.path.substr(1));
    }
    launch.stage.add("rootfs-shared", setup_.rootfs);
    launch.stage.add_directories("rootfs-places", std::move(places));
    launch.stage.add_overlay({.name = "rootfs",
                              .lowers = {"rootfs-places", "rootfs-shared"},
                              .upper = "",
                              .first_id = 0,
                              .options = ""});
  }

  Result<> stage_volumes(Launch& launch) {
    for (VolumeDirectories& volume : launch.plan.volumes) {
      const std::string name = "v" + std::to_string(launch.volumes.size());
      const std::string path = volume.path;
      auto access = stage_volume(launch.stage, name, launch.plan.record, std::move(volume),
                                 launch.plan.volumes_owner);
      if (!access.ok()) return std::move(access).error();
      launch.volumes.push_back({name, path, *access});
    }
    return Ok{};
  }

  // Its files are the driver's on disk, and those of the container's root in it.
  Result<MountAccess> stage_volume(Stage& stage, const std::string& name,
                                   const ContainerMeta& record, VolumeDirectories volume,
                                   uid_t owner) {
    const std::uint32_t first = kFirstContainerUid + record.slot * kUidsPerContainer;
    auto users = id_maps_.of_one(owner, first);
    if (!users.ok()) return std::move(users).error();
    StagedOverlay overlay{
        .name = name, .lowers = {}, .upper = "", .first_id = first, .options = kVolumeOptions};
    for (UniqueFd& lower : volume.lowers) {
      overlay.lowers.push_back(name + "-" + std::to_string(overlay.lowers.size()));
      stage.add_idmapped(overlay.lowers.back(), std::move(lower), *users, MountAccess::read_only);
    }
    const MountAccess access = volume.upper ? MountAccess::read_write : MountAccess::read_only;
    if (volume.upper) {
      overlay.upper = name + "-upper";
      stage.add_idmapped(overlay.upper, std::move(volume.upper), *users, access);
    }
    stage.add_overlay(std::move(overlay));
    return access;
  }

  RunnerPlaces places(const Launch& launch) const {
    RunnerPlaces places{.python = "/ember/python",
                        .layers = {},
                        .home = "/root",
                        .temporary = "/tmp",
                        .run = "/ember/run",
                        .source = "/source"};
    for (std::size_t i = 0; i < launch.plan.layers.size(); ++i) {
      places.layers.push_back("/ember/layers/" + std::to_string(i));
    }
    return places;
  }

  BundleNetwork network_of(const Launch& launch) const {
    using Kind = BundleNetwork::Kind;
    if (launch.plan.network == NetworkAccess::none) return {Kind::loopback_alone, ""};
    if (launch.network.path.empty()) return {Kind::of_the_machine, ""};
    return {Kind::made_before, launch.network.path};
  }

  std::vector<std::string> with_init(std::vector<std::string> argv) const {
    if (!setup_.init.empty()) argv.insert(argv.begin(), {setup_.init, "--"});
    return argv;
  }

  void run(const std::shared_ptr<Launch>& launch) {
    auto command = prepare(*launch);
    if (!command.ok()) return fail(*launch, std::move(command).error());
    auto pid =
        processes_.run(*command, [this, launch](ProcessEnd end) { crun_ended(*launch, end); });
    if (!pid.ok()) fail(*launch, std::move(pid).error());
  }

  Result<Command> prepare(Launch& launch) const {
    const ContainerFiles& files = launch.plan.files;
    const ContainerMeta& record = launch.plan.record;
    if (!launch.network.record.empty()) {
      auto written = files.write_network(launch.network.record);
      if (!written.ok()) return std::move(written).error();
    }
    const std::string config =
        config_json({.argv = with_init(launch.plan.argv),
                     .env = runner_env(launch.plan, places(launch), mark_of(record)),
                     .resources = record.resources,
                     .container = record.container,
                     .slot = record.slot,
                     .directories = launch.directories,
                     .volumes = launch.volumes,
                     .usr_mounts = mounts_in_usr(),
                     .gpus = launch.plan.gpus,
                     .network = network_of(launch),
                     .cgroups = setup_.cgroups});
    auto written = write_file(files.directory() + "/config.json", config, 0600);
    if (!written.ok()) return std::move(written).error();
    auto output = files.make_output_pipe();
    if (!output.ok()) return std::move(output).error();
    launch.output = std::move(*output);
    Command command;
    command.argv = {setup_.crun,
                    "--root",
                    state_directory(),
                    "--cgroup-manager",
                    setup_.cgroups.usable() ? "cgroupfs" : "disabled",
                    "run",
                    "--detach",
                    "--bundle",
                    files.directory(),
                    "--pid-file",
                    files.pid_path(),
                    record.container.text()};
    // The mark is for crun too: were the node to die now, its next life would end both.
    command.env = {mark_of(record), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    command.output = launch.output.get();
    command.steps = launch.stage.steps();
    if (setup_.cgroups.hybrid()) {
      command.steps.push_back({"hide the v2 half of the cgroup layout", hide_v2_beside_v1});
    }
    return command;
  }

  void crun_ended(Launch& launch, ProcessEnd end) {
    const auto runner = launch.plan.files.read_runner();
    if (end.exit_status == 0 && runner) return launch.done(runner->pid);
    std::string said = launch.plan.files.last_output(kErrorOutput);
    if (said.empty()) said = "ended with status " + std::to_string(end.exit_status) + ", no word";
    fail(launch, {ErrorCode::start_failed, "crun: " + said});
  }

  void fail(Launch& launch, Error why) {
    clean_up(launch.plan.record, 0);
    if (!launch.network.record.empty()) setup_.networks->end(launch.network.record);
    launch.done(std::move(why));
  }

  ProcessTable& processes_;
  const CrunSetup setup_;
  IdMaps id_maps_;
};

}  // namespace

std::unique_ptr<Isolation> make_crun_isolation(ProcessTable& processes, CrunSetup setup) {
  return std::make_unique<CrunIsolation>(processes, std::move(setup));
}

}  // namespace ember
