// How crun is run: the one place that knows its command line and what it takes of the machine.
#pragma once

#include <string>
#include <vector>

#include "node/bundle.h"
#include "node/cgroup.h"
#include "node/oci_exec.h"
#include "node/process_table.h"
#include "node/program.h"
#include "node/stage.h"

namespace ember {

struct CrunRun {
  const Program& crun;
  std::string state_directory;
  const Cgroups& cgroups;
  std::string bundle;  // the directory of config.json
  ContainerId container;
  std::string
      mark;  // NAME=value, in crun's own environment: a later life of the node ends it by it
  std::vector<std::string> options;  // of `crun run`, before the container's id
  int output = -1;
};

// Borrows the stage.
Command crun_command(const CrunRun& run, const Stage& stage);

struct CrunExecRun {
  const Program& crun;
  std::string state_directory;
  const Cgroups& cgroups;
  const OciExecRun& run;
};

// Stays as the process's parent, and ends with its exit status.
Command crun_exec_command(const CrunExecRun& exec);

// Puts an image's root on the stage, its owners shifted to the range from `first_id`
// on; `user_namespace` maps that. What is written to it is kept in `upper`, a host directory with
// kOverlayFiles and kOverlayWork in it, or for as long as the container lives in memory.
struct StagedRoot {
  std::string name = "rootfs";      // on the stage
  std::vector<std::string> lowers;  // host directories, the lowest first
  std::string upper;                // empty: on the disk
  UniqueFd disk = {};               // of the container's own; empty: in memory
  std::int64_t memory_bytes = 0;    // of it
  std::uint32_t first_id = 0;
  int user_namespace = -1;
};
void stage_root(Stage& stage, StagedRoot root);

// What the machine has mounted within its /usr: drivers and toolkits often come so.
std::vector<std::string> mounts_in_usr();

inline std::uint32_t first_id_of(std::uint32_t slot) {
  return kFirstContainerUid + slot * kUidsPerContainer;
}

}  // namespace ember
