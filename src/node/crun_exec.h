// `crun exec`: a process joins a container's namespaces and cgroup, under the same seccomp filter
// and with as few privileges as the container's first process has.
#pragma once

#include <sys/types.h>

#include <string>

#include "node/cgroup.h"
#include "node/exec_launch.h"

namespace ember {

struct CrunExec {
  std::string crun;  // the program's path
  std::string state_directory;
  const Cgroups& cgroups;
  uid_t user;  // that the container's root is on this machine
};

// The bundle's config.json is in the container's directory; the process is that of it, with other
// arguments. A terminal is made in the container, as its programs can look it up by name then.
Result<ExecLaunch> crun_exec(const CrunExec& crun, const ExecPlan& plan);

}  // namespace ember
