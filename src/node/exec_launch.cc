#include "node/exec_launch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace ember {
namespace {

Error failed(const std::string& what) {
  return {ErrorCode::unavailable, what + ": " + std::strerror(errno)};
}

bool become_streams(int input, int output, int errors) {
  return ::dup2(input, STDIN_FILENO) >= 0 && ::dup2(output, STDOUT_FILENO) >= 0 &&
         ::dup2(errors, STDERR_FILENO) >= 0;
}

struct Pipe {
  UniqueFd reads, writes;
};

Result<Pipe> make_pipe(uid_t user) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("make a pipe");
  Pipe pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
  if (::geteuid() == 0 && ::fchown(ends[0], user, user) != 0) return failed("give a pipe away");
  return pipe;
}

}  // namespace

Result<> give_pipes(ExecLaunch& launch, uid_t user) {
  auto input = make_pipe(user);
  auto output = make_pipe(user);
  auto errors = make_pipe(user);
  for (const auto* pipe : {&input, &output, &errors}) {
    if (!pipe->ok()) return pipe->error();
  }
  launch.command.steps.push_back(
      {"connect its streams",
       [in = input->reads.get(), out = output->writes.get(), err = errors->writes.get()] {
         return become_streams(in, out, err);
       }});
  launch.given.push_back(std::move(input->reads));
  launch.given.push_back(std::move(output->writes));
  launch.given.push_back(std::move(errors->writes));
  launch.input = std::move(input->writes);
  launch.output = std::move(output->reads);
  launch.errors = std::move(errors->reads);
  return Ok{};
}

Result<> give_terminal(ExecLaunch& launch, const TerminalSize& size) {
  UniqueFd ours(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!ours || ::grantpt(ours.get()) != 0 || ::unlockpt(ours.get()) != 0) {
    return failed("make a terminal");
  }
  UniqueFd theirs(::ioctl(ours.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!theirs) return failed("open a terminal");
  const winsize wanted{size.rows, size.columns, 0, 0};
  ::ioctl(ours.get(), TIOCSWINSZ, &wanted);
  launch.command.steps.push_back({"take the terminal", [terminal = theirs.get()] {
                                    return ::ioctl(terminal, TIOCSCTTY, 0) == 0 &&
                                           become_streams(terminal, terminal, terminal);
                                  }});
  launch.given.push_back(std::move(theirs));
  launch.terminal = std::move(ours);
  return Ok{};
}

void remove_files(const ExecLaunch& launch) {
  for (const std::string& path : {launch.pid_path, launch.errors_path, launch.process_path,
                                  launch.console_path, launch.inner_pid_path}) {
    if (!path.empty()) ::unlink(path.c_str());
  }
}

}  // namespace ember
