// The class of isolation `container`: each runner under crun, in namespaces and a range of users of
// its own, with a read-only root, no capabilities, a seccomp filter and what limits the machine
// has.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "node/cgroup.h"
#include "node/isolation.h"
#include "node/network_pool.h"
#include "node/node_directory.h"

namespace ember {

struct CrunSetup {
  std::string crun;  // the program's path
  std::string init;  // of the program that collects orphans, below /usr; empty: there is none
  NodeDirectory directory;
  std::string rootfs;        // what containers on the machine's own /usr have for their root
  std::string mount_points;  // what lies over an image that brings a root of its own
  Cgroups cgroups;
  NetworkPool* networks = nullptr;  // borrowed; where it makes none: the machine's own network
};

std::unique_ptr<Isolation> make_crun_isolation(ProcessTable& processes, CrunSetup setup);

}  // namespace ember
