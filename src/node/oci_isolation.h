// What containers of any OCI runtime have in common: their stage and bundle, network, limits and
// clean-up. How the runtime is run, and how a container's processes are known from others, its own
// class says (crun_isolation.h, runsc_isolation.h).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "node/bundle.h"
#include "node/cgroup.h"
#include "node/isolation.h"
#include "node/network_pool.h"
#include "node/node_directory.h"
#include "node/program.h"
#include "node/stage.h"

namespace ember {

struct OciSetup {
  Program crun;
  std::string runsc;  // the program's path; empty: not installed
  std::string init;   // of the program that collects orphans, below /usr; empty: there is none
  NodeDirectory directory;
  std::string rootfs;        // what containers on the machine's own /usr have for their root
  std::string mount_points;  // what lies over an image that brings a root of its own
  Cgroups cgroups;
  NetworkPool* networks = nullptr;  // borrowed; where it makes none: the machine's own network
};

// A container that is to be started by a runtime.
struct OciRun {
  std::string bundle;  // the directory of config.json
  ContainerId container;
  std::string mark;  // NAME=value, in the runtime's own environment, by which its rest is ended
  std::string pid_path;
  BundleNetwork::Kind network;
  int output = -1;
};

class OciIsolation : public Isolation {
 public:
  // The runtime's state of a container is in a directory of its name, below the other.
  OciIsolation(ProcessTable& processes, OciSetup setup, std::string state_directory);
  ~OciIsolation() override;

  void launch(LaunchPlan plan, UniqueFd source, std::function<void(Result<pid_t>)> done) override;
  void adopt(const ContainerMeta& record) override;
  uid_t root_user(const ContainerMeta& record) const override;
  void kill_all(const ContainerMeta& record, pid_t runner) override;
  bool watch_network(const ContainerMeta& record, std::function<void()> on_end) override;
  std::optional<std::int64_t> egress_bytes(const ContainerMeta& record) const override;
  Remains clean_up(const ContainerMeta& record, pid_t runner) override;

 protected:
  // Of the runtime, for people.
  virtual std::string_view program() const = 0;
  // Why it cannot start that container.
  virtual Result<> check(const LaunchPlan&) const { return Ok{}; }
  virtual ProcessesCounted processes_counted() const { return ProcessesCounted::by_the_machine; }
  // Whether it lays memory over a /tmp in which there is nothing.
  virtual bool covers_an_empty_tmp() const { return false; }
  // Ends once the container runs, with a process that stands for its runner at `pid_path`.
  virtual Command run_command(const OciRun& run, const Stage& stage) const = 0;

  // Puts the volume on the stage by the name.
  Result<MountAccess> stage_volume(Stage& stage, const std::string& name,
                                   const ContainerMeta& record, VolumeDirectories volume,
                                   uid_t owner);
  ProcessTable& processes() const { return processes_; }
  const OciSetup& setup() const { return setup_; }
  const std::string& state_directory() const { return state_directory_; }

 private:
  struct Launch;

  void remove_group_later(ContainerId container);
  std::optional<std::string> network_of(const ContainerMeta& record) const;
  std::string mark_of(const ContainerMeta& record) const;
  void set_out(const std::shared_ptr<Launch>& launch, UniqueFd source);
  Result<> set_stage(Launch& launch, UniqueFd source);
  void stage_shared_root(Launch& launch) const;
  Result<> stage_image(Launch& launch);
  Result<> stage_volumes(Launch& launch);
  BundleNetwork network_of(const Launch& launch) const;
  std::vector<std::string> command_of(const LaunchPlan& plan) const;
  void narrow(const std::shared_ptr<Launch>& launch);
  void run(const std::shared_ptr<Launch>& launch);
  Result<Command> prepare(Launch& launch) const;
  void runtime_ended(Launch& launch, ProcessEnd end);
  void fail(Launch& launch, Error why);

  ProcessTable& processes_;
  const OciSetup setup_;
  const std::string state_directory_;
  IdMaps id_maps_;
  std::map<ContainerId, pid_t> removing_;  // processes that remove their control groups
};

}  // namespace ember
