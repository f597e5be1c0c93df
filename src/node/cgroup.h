// Control groups of containers: one directory a container in each hierarchy that the machine has
// (v1, v2 or both), under "/ember/<node>". The runtime makes and fills them; what is read before
// they go, and that they go, is ours.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "model/ids.h"
#include "node/process_table.h"

namespace ember {

class Cgroups {
 public:
  // Finds the hierarchies; tries in each whether a group can be made. What it made stays until
  // remove_parents().
  explicit Cgroups(NodeId node);

  bool usable() const { return !limits_.empty(); }  // at least one limit can be set
  bool has(const std::string& controller) const;    // "memory", "pids" or "cpu"
  bool limits_swap() const { return limits_swap_; }
  // Goes on without any limit, for the cause.
  void give_up(const std::string& cause);
  bool hybrid() const { return hybrid_; }  // v1 hierarchies, and a v2 one beside them
  // One line for each limit that cannot be set, with the cause.
  const std::vector<std::string>& missing() const { return missing_; }

  // For the runtime: the same path in every hierarchy.
  std::string path_of(ContainerId container) const;
  // Whether the kernel ended a process of the group for its memory limit.
  bool ran_out_of_memory(ContainerId container) const;
  bool has_process(ContainerId container, pid_t process) const;
  // Puts this process into the container's groups. False: errno says why.
  bool join(ContainerId container) const;
  // Ends what still runs in them and removes the directories, which waits for the last process to
  // go: for some milliseconds at most where it must not hold others up. Whether they have gone.
  enum class Patience { brief, long_enough };
  bool remove(ContainerId container, Patience patience) const;
  // The node's own directories; those that still have containers stay.
  void remove_parents() const;

 private:
  void find_hierarchies();
  void try_controller(const std::string& controller);

  struct Hierarchy;
  // Nothing, or why containers' groups cannot have it.
  std::string enable(const Hierarchy& hierarchy, const std::string& controller) const;

  struct Hierarchy {
    std::string mount;                     // "/sys/fs/cgroup/memory"
    std::vector<std::string> controllers;  // empty for v1 ones without any of ours
    bool v2 = false;
  };
  std::vector<Hierarchy> hierarchies_;
  std::vector<std::string> limits_;  // controllers that can be used
  std::vector<std::string> missing_;
  std::string parent_;  // "/ember/<node>"
  bool hybrid_ = false;
  bool limits_swap_ = false;
};

// Of a mount namespace of one's own: runtimes refuse a v2 hierarchy that stands beside v1 ones, and
// set all limits where they do not see it.
PreparationStep hide_v2_beside_v1();

}  // namespace ember
