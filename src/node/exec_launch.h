// How a process is run in a container beside its first one: what an isolation makes of the wish,
// and what both kinds need for it. Execs (execs.h) runs it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/exec.h"
#include "node/container_files.h"
#include "node/process_table.h"
#include "node/unique_fd.h"

namespace ember {

struct ExecPlan {
  const ContainerMeta& record;
  const ContainerFiles& files;
  pid_t runner = 0;  // or the process that stands for it
  ExecId exec;
  ExecSpec spec;
  // What paths of the launch's own files begin with: not in the container's directory, which goes
  // with the container, and it may end first.
  std::string scratch = {};
};

struct ExecLaunch {
  Command command;
  std::vector<UniqueFd> given;  // to the process: closed here once it runs
  // What the driver gets: the terminal, or the three pipes.
  UniqueFd terminal, input, output, errors;
  UniqueFd console;         // where the terminal will be sent, if it is made in the container
  std::string pid_path;     // where the process's pid will stand; empty: it is the command itself
  std::string errors_path;  // what the command says where the process could not be run
  std::function<std::string(const std::string&)> word_of_errors;  // of it, for people; empty: all
  // Further files of the launch; empty: none.
  std::string process_path, console_path, inner_pid_path;
  // What signals the process where that is hidden from the machine; nothing while there is none.
  std::function<std::optional<Command>(int)> signal = {};
};

// Three pipes, which the user may open anew by /proc/self/fd, and the step that makes them those of
// the command.
Result<> give_pipes(ExecLaunch& launch, uid_t user);

// A new pair, the process's end of which becomes the command's terminal.
Result<> give_terminal(ExecLaunch& launch, const TerminalSize& size);

// Removes what the launch has on disk.
void remove_files(const ExecLaunch& launch);

}  // namespace ember
