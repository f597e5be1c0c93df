// How runsc is run, gVisor's runtime: the one place that knows its command line and what it says.
// The same words for Debian's of 2022 and the newest.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "node/cgroup.h"
#include "node/oci_exec.h"
#include "node/oci_isolation.h"
#include "node/process_table.h"
#include "node/stage.h"

namespace ember {

struct Runsc {
  std::string program;  // its path
  std::string state_directory;
  const Cgroups& cgroups;
};

// Borrows the stage. The process at `pid_path` is the sandbox, which is gVisor's kernel: it ends as
// the container's first process does, and passes signals on to that.
Command runsc_command(const Runsc& runsc, const OciRun& run, const Stage& stage);

// Stays beside the process that it has run in the sandbox, in the container's control group; ends
// with its status, and has its own pid at `pid_path`.
Command runsc_exec_command(const Runsc& runsc, const OciExecRun& run);
// Signals that process, which outlives the command above.
std::optional<Command> runsc_exec_signal_command(const Runsc& runsc, const OciExecRun& run,
                                                 int number);

// What it said last, of the lines of JSON that it logs.
std::string last_word_of_runsc(const std::string& log);

}  // namespace ember
