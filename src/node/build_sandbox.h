// Where the steps of an image run: a container of crun's with a range of users of its own, no
// capability outside it, and the network of containers. What it writes goes into a layer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "node/bundle.h"
#include "node/idmapped_mount.h"
#include "node/oci_isolation.h"
#include "node/process_table.h"

namespace ember {

// A directory that a build sees.
struct BuildMount {
  std::string host_path;
  std::string destination;
  MountAccess access = MountAccess::read_only;
};

struct BuildRun {
  std::vector<std::string> argv;
  std::vector<std::string> env;  // NAME=value
  std::string working_directory = "/";
  Privileges privileges = Privileges::of_a_build;
  BuiltImage image;   // what it sees for its root
  std::string upper;  // host directory that takes what it writes there; empty: nothing
                      // of it is kept
  std::vector<BuildMount> mounts = {};       // owners shifted like the root's
  std::vector<std::string> shown_root = {};  // layers, seen together at /ember/image
  int files = -1;       // a directory's descriptor, seen at /ember/files; negative: none
  std::string network;  // the namespace's path; empty: the loopback alone
  int output = -1;
};

class BuildSandboxes;

// One build's: its own users, control group and directory. Ends what runs in it when it goes.
class BuildSandbox {
 public:
  ~BuildSandbox();
  BuildSandbox(const BuildSandbox&) = delete;
  BuildSandbox& operator=(const BuildSandbox&) = delete;

  // The command that runs it to its end. One at a time.
  Result<Command> command(const BuildRun& run);
  // A command of this machine's in the sandbox's users, for what must see the machine: it reads
  // what all may read, and writes what the sandbox's users own.
  struct MachineRun {
    std::vector<std::string> argv, env;
    std::string part;  // host directory, seen at Stage::path("part") with its owners shifted
    int output = -1;
  };
  Result<Command> on_machine(const MachineRun& run);
  // The user that 0 in the sandbox is.
  std::uint32_t first_id() const;
  // Ends what runs, waits for it, and leaves nothing of it.
  void end();
  // Whether the kernel ended a process of the last command for the memory it took.
  bool ran_out_of_memory() const;

 private:
  friend class BuildSandboxes;
  BuildSandbox(BuildSandboxes& owner, ContainerId id, std::uint32_t slot, std::string directory);

  std::string mark() const;

  BuildSandboxes& owner_;
  const ContainerId id_;
  const std::uint32_t slot_;
  const std::string directory_;
};

class BuildSandboxes {
 public:
  // Ends what builds of an earlier life left running.
  explicit BuildSandboxes(OciSetup setup);

  // Its directory must be there; nothing when too many build at once.
  std::unique_ptr<BuildSandbox> make(const std::string& directory);
  NetworkPool& networks() { return *setup_.networks; }
  const std::vector<PythonDirectory>& python() const { return setup_.directory.python; }

 private:
  friend class BuildSandbox;
  std::string mark() const;

  const OciSetup setup_;
  IdMaps id_maps_;
  std::vector<std::uint32_t> free_slots_;
  std::uint64_t next_id_ = 1;
};

}  // namespace ember
