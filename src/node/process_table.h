// The processes a node watches: the helpers it spawns, and the runners, which may be children of an
// earlier life of this node. Each is held by a pidfd, so that a number used again is never taken
// for the process that had it.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/unique_fd.h"

namespace ember {

struct ProcessEnd {
  int exit_status = -1;  // -1: a signal ended it, or nobody could see
  int signal = 0;
};

// A step between fork and exec, in the child. The name of the first that fails is written to the
// child's stderr with the cause, and the child ends with kPreparationFailed.
struct PreparationStep {
  const char* name;
  std::function<bool()> run;  // false: failed, errno says why
};
inline constexpr int kPreparationFailed = 125;

struct Command {
  std::vector<std::string> argv;  // argv[0] is a path
  std::vector<std::string> env;   // NAME=value, all of it
  std::string directory = "/";
  int output = -1;             // stdout and stderr; negative: /dev/null
  std::vector<int> inherited;  // descriptors that stay open under their numbers
  std::vector<PreparationStep> steps;
  // An open program to run, which is told argv[0] as its name; none: the one at that path.
  std::shared_ptr<const UniqueFd> program = {};
};

// Forks and runs the command in a session of its own, its stdin at an end. The pid.
Result<pid_t> spawn(const Command& command);

class ProcessTable {
 public:
  // Makes this process the parent of what its children leave behind.
  explicit ProcessTable(boost::asio::io_context& loop);
  ~ProcessTable();

  using OnEnd = std::function<void(ProcessEnd)>;
  // Calls back once, from the loop, when the process has ended. Forgets it then.
  Result<> watch(pid_t pid, OnEnd on_end);
  // Spawns and watches.
  Result<pid_t> run(const Command& command, OnEnd on_end);
  // False if it is not watched or has ended.
  bool signal(pid_t pid, int number) const;
  // No callback comes any more; the process goes on.
  void forget(pid_t pid);
  // Collects ended children that nobody watches: orphans of runners.
  void reap_strangers();

 private:
  struct Watched;

  void wait(pid_t pid);
  void ended(pid_t pid);

  boost::asio::io_context& loop_;
  std::map<pid_t, std::unique_ptr<Watched>> watched_;
};

// When the process began, in the kernel's ticks since boot: with the pid, its identity. 0: no such
// process, or it is a zombie.
std::uint64_t process_start_ticks(pid_t pid);

// The child that it forked before any other, if that lives; 0: there is none.
pid_t first_child_of(pid_t pid);

// Whether its first environment holds the entry "NAME=value" in its first 64 KiB.
bool process_has_env(pid_t pid, const std::string& entry);
// The user it runs as; nothing if there is no such process.
std::optional<uid_t> process_user(pid_t pid);
// Living processes whose first environment holds the entry "NAME=value".
std::vector<pid_t> processes_with_env(const std::string& entry);
// Kills them until there are none, wherever they hid.
void end_marked_processes(const std::string& entry);

}  // namespace ember
