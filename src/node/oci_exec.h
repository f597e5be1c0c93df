// A process that joins a container by its runtime's `exec`, with as few privileges as the
// container's first process has.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "node/exec_launch.h"

namespace ember {

struct OciExecRun {
  ContainerId container;
  std::string process_path;    // of the process's JSON
  std::string pid_path;        // made once the process runs
  std::string inner_pid_path;  // the pid in the container, where the runtime alone knows it
  std::string log_path;        // what the runtime has to say, and only that
  std::string console_path;    // the socket that the terminal is sent to; empty: none
};

// Within the container, where its programs can look it up by name, or here, as the command's own.
enum class TerminalMaker { runtime, node };

// The bundle's config.json is in the container's directory; the process is that of it, with other
// arguments. `root_user` is the user that the container's root
// is on this machine; the command stays as the process's parent, and ends with its exit status.
Result<ExecLaunch> oci_exec(const ExecPlan& plan, uid_t root_user, TerminalMaker maker,
                            const std::function<Command(const OciExecRun&)>& command_of);

}  // namespace ember
