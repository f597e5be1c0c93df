// How a runner is kept apart from the machine: one implementation a class of isolation
// (process_isolation.h, crun_isolation.h), named by what it stops.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/environment.h"
#include "model/sandbox.h"
#include "node/built_image.h"
#include "node/container_files.h"
#include "node/exec_launch.h"
#include "node/gpu_grant.h"
#include "node/process_table.h"
#include "node/unique_fd.h"

namespace ember {

// A volume's directories, open (O_PATH).
struct VolumeDirectories {
  std::string path;                   // in the container
  std::vector<UniqueFd> lowers = {};  // the lowest first
  UniqueFd upper = {};                // empty: nothing can be written
};

struct LaunchPlan {
  ContainerMeta record;
  ContainerFiles files;
  Environment env;  // the user's, already checked
  BuiltImage image;
  std::vector<std::string> argv;  // the runner's command
  GpuGrant gpus = {};
  SandboxSettings sandbox = {};
  std::vector<VolumeDirectories> volumes = {};
  uid_t volumes_owner = 0;  // of their files, on disk
};

class Isolation {
 public:
  virtual ~Isolation() = default;
  virtual std::string_view name() const = 0;
  // Starts the runner with the source directory (may be empty) at its place, and calls back once
  // from the loop, with the runner or the process that stands for it: it ends with the runner and
  // passes signals on. A failed launch leaves nothing behind.
  virtual void launch(LaunchPlan plan, UniqueFd source,
                      std::function<void(Result<pid_t>)> done) = 0;
  // An earlier life of the node launched it: takes up what that did for it.
  virtual void adopt(const ContainerMeta&) {}
  // Puts another overlay in the place of a volume. Conflict where files of it are open.
  virtual void remount(const ContainerMeta&, pid_t, VolumeDirectories, uid_t,
                       std::function<void(Result<>)> done) {
    done(Error{ErrorCode::unavailable, "there are no volumes without containers"});
  }
  // Whether the process that connected is the container's.
  virtual bool owns(const ContainerMeta& record, pid_t runner, const ucred& peer) const = 0;
  // Whether that process of this machine runs in the container.
  virtual bool has_process(const ContainerMeta& record, pid_t process) const = 0;
  // What runs another process in the container, under the same limits; it ends with the container.
  virtual Result<ExecLaunch> exec(const ExecPlan& plan) = 0;
  // The runner itself, and the user that is its root as the machine sees them.
  virtual pid_t runner_process(pid_t runner) const { return runner; }
  virtual uid_t root_user(const ContainerMeta&) const { return 0; }
  // A signal for all of the container's processes.
  virtual void kill_all(const ContainerMeta& record, pid_t runner) = 0;
  // How the runner ended, told by how the process did that launch() called back with.
  virtual ProcessEnd end_of_runner(ProcessEnd end) const { return end; }
  // Calls back from the loop when the container's network has ended; never where it has none of its
  // own. False: it has ended before.
  virtual bool watch_network(const ContainerMeta&, std::function<void()>) { return true; }
  // What has left the container's network namespace so far; nothing where it has none of its own,
  // or it has gone.
  virtual std::optional<std::int64_t> egress_bytes(const ContainerMeta& record) const = 0;
  enum class OutOfMemory { no, yes };
  struct Remains {
    OutOfMemory out_of_memory = OutOfMemory::no;  // the kernel ended it for its memory limit
    std::optional<std::int64_t> egress_bytes;     // the last word on it
  };
  // The runner has ended: ends what is left of the container and removes what is not in its
  // directory. May be asked again.
  virtual Remains clean_up(const ContainerMeta& record, pid_t runner) = 0;
};

}  // namespace ember
