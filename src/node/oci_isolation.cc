#include "node/oci_isolation.h"

#include <signal.h>
#include <sys/wait.h>

#include <spdlog/spdlog.h>
#include <filesystem>

#include "node/crun.h"
#include "node/ephemeral_disk.h"
#include "node/root_filesystem.h"
#include "node/runner_env.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kErrorOutput = 2 << 10;
constexpr const char* kInitBesideImages = "/ember/init";

// So that the driver, without privileges, can read what the file system notes of a directory that
// stands in the place of another.
constexpr const char* kVolumeOptions = "userxattr,index=off";

RunnerPlaces places_of(const LaunchPlan& plan) {
  RunnerPlaces places{.python = "/ember/python",
                      .layers = {},
                      .home = "/root",
                      .temporary = "/tmp",
                      .run = "/ember/run",
                      .source = "/source"};
  for (std::size_t i = 0; i < plan.image.packages.size(); ++i) {
    places.layers.push_back("/ember/layers/" + std::to_string(i));
  }
  return places;
}

}  // namespace

// A launch on its way, kept by the callbacks that bring it on.
struct OciIsolation::Launch {
  LaunchPlan plan;
  Stage stage;
  std::vector<StagedDirectory> directories;
  std::vector<StagedVolume> volumes;
  Network network;
  UniqueFd output;
  std::function<void(Result<pid_t>)> done;
  UniqueFd disk = {};

  // Whether its root is its own, with room to write.
  bool has_own_root() const {
    return plan.image.has_own_root() || plan.sandbox.ephemeral_disk_bytes > 0;
  }
};

OciIsolation::OciIsolation(ProcessTable& processes, OciSetup setup, std::string state_directory)
    : processes_(processes),
      setup_(std::move(setup)),
      state_directory_(std::move(state_directory)) {}

OciIsolation::~OciIsolation() {
  for (const auto& [container, pid] : removing_) {
    processes_.forget(pid);
    ::waitpid(pid, nullptr, 0);
  }
  setup_.cgroups.remove_parents();
}

void OciIsolation::launch(LaunchPlan plan, UniqueFd source,
                          std::function<void(Result<pid_t>)> done) {
  auto launch =
      std::make_shared<Launch>(Launch{std::move(plan), {}, {}, {}, {}, {}, std::move(done)});
  if (auto fine = check(launch->plan); !fine.ok()) return launch->done(std::move(fine).error());
  const std::int64_t disk_bytes = launch->plan.sandbox.ephemeral_disk_bytes;
  if (disk_bytes == 0) return set_out(launch, std::move(source));
  const auto given = std::make_shared<UniqueFd>(std::move(source));
  make_ephemeral_disk(processes_, launch->plan.files.directory(), disk_bytes,
                      [this, launch, given](Result<UniqueFd> disk) {
                        if (!disk.ok()) return launch->done(std::move(disk).error());
                        launch->disk = std::move(*disk);
                        set_out(launch, std::move(*given));
                      });
}

void OciIsolation::set_out(const std::shared_ptr<Launch>& launch, UniqueFd source) {
  if (auto staged = set_stage(*launch, std::move(source)); !staged.ok()) {
    return launch->done(std::move(staged).error());
  }
  const NetworkAccess access = launch->plan.sandbox.network.access;
  if (!setup_.networks->makes() && access == NetworkAccess::listed) {
    return launch->done(
        Error{ErrorCode::unavailable,
              "its network list cannot be kept: containers here are on the machine's own network"});
  }
  if (!setup_.networks->makes() || access == NetworkAccess::none) return run(launch);
  setup_.networks->take([this, launch](Result<Network> network) {
    if (!network.ok()) return launch->done(std::move(network).error());
    launch->network = std::move(*network);
    narrow(launch);
  });
}

void OciIsolation::adopt(const ContainerMeta& record) {
  auto destinations = ContainerFiles(setup_.directory.path, record.container).read_destinations();
  const auto network = network_of(record);
  if (!destinations || !network) return;
  auto policy = listed_destinations(std::move(*destinations));
  const std::string who = record.container.text();
  const auto told = [who](const Result<>& narrowed) {
    if (narrowed.ok()) return;
    spdlog::error("{}: names of its network list are not found: {}", who, narrowed.error().message);
  };
  if (!policy.ok()) return told(std::move(policy).error());
  setup_.networks->narrow(*network, who, destinations_of(*policy), told);
}

uid_t OciIsolation::root_user(const ContainerMeta& record) const {
  return first_id_of(record.slot);
}

// With it goes every other one.
void OciIsolation::kill_all(const ContainerMeta&, pid_t runner) {
  if (runner > 0) processes_.signal(runner, SIGKILL);
}

bool OciIsolation::watch_network(const ContainerMeta& record, std::function<void()> on_end) {
  const auto network = network_of(record);
  return !network || setup_.networks->watch(*network, std::move(on_end));
}

std::optional<std::int64_t> OciIsolation::egress_bytes(const ContainerMeta& record) const {
  const auto network = network_of(record);
  return network ? setup_.networks->egress_bytes(*network) : std::nullopt;
}

// The network goes last: until then it holds the namespace, and the count of all that left it.
OciIsolation::Remains OciIsolation::clean_up(const ContainerMeta& record, pid_t) {
  const bool out_of_memory = setup_.cgroups.ran_out_of_memory(record.container);
  end_marked_processes(mark_of(record));
  if (!setup_.cgroups.remove(record.container, Cgroups::Patience::brief)) {
    remove_group_later(record.container);
  }
  std::error_code ignored;
  fs::remove_all(state_directory_ + "/" + record.container.text(), ignored);
  const Remains remains{out_of_memory ? OutOfMemory::yes : OutOfMemory::no, egress_bytes(record)};
  if (const auto network = network_of(record)) setup_.networks->end(*network);
  return remains;
}

// By a process of its own, which a node that is killed does not take along.
void OciIsolation::remove_group_later(ContainerId container) {
  if (removing_.contains(container)) return;
  Command command;
  command.argv = {"/bin/true"};
  command.steps = {{"remove a control group", [cgroups = &setup_.cgroups, container] {
                      return cgroups->remove(container, Cgroups::Patience::long_enough);
                    }}};
  const auto pid =
      processes_.run(command, [this, container](ProcessEnd) { removing_.erase(container); });
  if (pid.ok()) removing_[container] = *pid;
}

// The record of the container's own network.
std::optional<std::string> OciIsolation::network_of(const ContainerMeta& record) const {
  return ContainerFiles(setup_.directory.path, record.container).read_network();
}

std::string OciIsolation::mark_of(const ContainerMeta& record) const {
  return container_mark(setup_.directory.node, record.container);
}

Result<> OciIsolation::set_stage(Launch& launch, UniqueFd source) {
  const auto add = [&](const std::string& name, const std::string& host_path,
                       const std::string& destination) {
    launch.stage.add(name, host_path);
    launch.directories.push_back({name, destination});
  };
  if (auto staged = stage_image(launch); !staged.ok()) return staged;
  for (const char* name : {"ssl", "alternatives"}) {
    if (!launch.plan.image.on_host) break;
    const std::string path = std::string("/etc/") + name;
    std::error_code ignored;
    if (fs::is_directory(path, ignored)) add(name, path, path);
  }
  for (const PythonDirectory& package : setup_.directory.python) {
    add("python-" + package.name, package.host_path, "/ember/python/" + package.name);
  }
  for (std::size_t i = 0; i < launch.plan.image.packages.size(); ++i) {
    const std::string number = std::to_string(i);
    add("layer-" + number, launch.plan.image.packages[i], "/ember/layers/" + number);
  }
  for (const DriverLibrary& library : launch.plan.gpus.libraries) {
    launch.stage.add(staged_name(library), library.host_path);
  }
  if (!launch.plan.image.on_host && !setup_.init.empty()) {
    add("init", setup_.init, kInitBesideImages);
  }
  add("run", launch.plan.files.run_directory(), "/ember/run");
  if (launch.plan.sandbox.ephemeral_disk_bytes > 0 && covers_an_empty_tmp()) {
    launch.directories.push_back({"rootfs/tmp", "/tmp", MountAccess::read_write});
  }
  if (source) {
    launch.stage.add_open_directory("source", std::move(source));
    launch.directories.push_back({"source", "/source"});
  }
  return stage_volumes(launch);
}

// Volumes need places to be mounted at, which the root that all share does not have.
void OciIsolation::stage_shared_root(Launch& launch) const {
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

// The root that all containers share, or one of the image's own with room to write.
Result<> OciIsolation::stage_image(Launch& launch) {
  const BuiltImage& image = launch.plan.image;
  if (!launch.has_own_root()) {
    stage_shared_root(launch);
    return Ok{};
  }
  const std::uint32_t first_id = first_id_of(launch.plan.record.slot);
  auto users = id_maps_.from(first_id);
  if (!users.ok()) return std::move(users).error();
  stage_root(launch.stage, {.lowers = root_directories(image, setup_.rootfs, setup_.mount_points),
                            .upper = "",
                            .disk = std::move(launch.disk),
                            .memory_bytes = scratch_space(launch.plan.record.resources),
                            .first_id = first_id,
                            .user_namespace = *users});
  return Ok{};
}

Result<> OciIsolation::stage_volumes(Launch& launch) {
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
Result<MountAccess> OciIsolation::stage_volume(Stage& stage, const std::string& name,
                                               const ContainerMeta& record,
                                               VolumeDirectories volume, uid_t owner) {
  const std::uint32_t first = first_id_of(record.slot);
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

BundleNetwork OciIsolation::network_of(const Launch& launch) const {
  using Kind = BundleNetwork::Kind;
  if (launch.plan.sandbox.network.access == NetworkAccess::none) return {Kind::loopback_alone, ""};
  if (launch.network.path.empty()) return {Kind::of_the_machine, ""};
  return {Kind::made_before, launch.network.path};
}

// The init lies in the machine's /usr, and beside an image's root.
std::vector<std::string> OciIsolation::command_of(const LaunchPlan& plan) const {
  std::vector<std::string> argv;
  if (!setup_.init.empty()) {
    argv = {plan.image.on_host ? setup_.init : kInitBesideImages, "--"};
  }
  argv.insert(argv.end(), plan.image.entrypoint.begin(), plan.image.entrypoint.end());
  argv.insert(argv.end(), plan.argv.begin(), plan.argv.end());
  return argv;
}

// Down to the destinations that are listed, before anything runs in it.
void OciIsolation::narrow(const std::shared_ptr<Launch>& launch) {
  const NetworkPolicy& policy = launch->plan.sandbox.network;
  if (policy.access != NetworkAccess::listed) return run(launch);
  if (auto kept = launch->plan.files.write_destinations(policy.destinations); !kept.ok()) {
    return fail(*launch, std::move(kept).error());
  }
  setup_.networks->narrow(launch->network.record, launch->plan.record.container.text(),
                          destinations_of(policy), [this, launch](Result<> narrowed) {
                            if (narrowed.ok()) return run(launch);
                            fail(*launch, std::move(narrowed).error().within("network"));
                          });
}

void OciIsolation::run(const std::shared_ptr<Launch>& launch) {
  auto command = prepare(*launch);
  if (!command.ok()) return fail(*launch, std::move(command).error());
  auto pid =
      processes_.run(*command, [this, launch](ProcessEnd end) { runtime_ended(*launch, end); });
  if (!pid.ok()) fail(*launch, std::move(pid).error());
}

Result<Command> OciIsolation::prepare(Launch& launch) const {
  const ContainerFiles& files = launch.plan.files;
  const ContainerMeta& record = launch.plan.record;
  if (!launch.network.record.empty()) {
    auto written = files.write_network(launch.network.record);
    if (!written.ok()) return std::move(written).error();
  }
  const BuiltImage& image = launch.plan.image;
  const std::string config = config_json(
      {.argv = command_of(launch.plan),
       .env = runner_env(launch.plan, places_of(launch.plan), mark_of(record)),
       .working_directory = image.working_directory.empty() ? "/root" : image.working_directory,
       .root = {.has_machine_usr = image.on_host,
                .access = launch.has_own_root() ? MountAccess::read_write : MountAccess::read_only},
       .resources = record.resources,
       .container = record.container,
       .slot = record.slot,
       .directories = launch.directories,
       .volumes = launch.volumes,
       .usr_mounts = image.on_host ? mounts_in_usr() : std::vector<std::string>(),
       .gpus = launch.plan.gpus,
       .network = network_of(launch),
       .cgroups = setup_.cgroups,
       .processes = processes_counted()});
  auto written = write_file(files.directory() + "/config.json", config, 0600);
  if (!written.ok()) return std::move(written).error();
  auto output = files.make_output_pipe();
  if (!output.ok()) return std::move(output).error();
  launch.output = std::move(*output);
  return run_command({.bundle = files.directory(),
                      .container = record.container,
                      .mark = mark_of(record),
                      .pid_path = files.pid_path(),
                      .network = network_of(launch).kind,
                      .output = launch.output.get()},
                     launch.stage);
}

void OciIsolation::runtime_ended(Launch& launch, ProcessEnd end) {
  const auto runner = launch.plan.files.read_runner();
  if (end.exit_status == 0 && runner) return launch.done(runner->pid);
  std::string said = launch.plan.files.last_output(kErrorOutput);
  if (said.empty()) said = "ended with status " + std::to_string(end.exit_status) + ", no word";
  fail(launch, {ErrorCode::start_failed, std::string(program()) + ": " + said});
}

void OciIsolation::fail(Launch& launch, Error why) {
  clean_up(launch.plan.record, 0);
  if (!launch.network.record.empty()) setup_.networks->end(launch.network.record);
  launch.done(std::move(why));
}

}  // namespace ember
