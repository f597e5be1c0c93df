#include "node/stack_dump.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>

#include "node/unique_fd.h"

namespace ember {
namespace {

constexpr std::chrono::seconds kTimeLimit{15};
constexpr std::size_t kMostBytes = 1 << 20;
constexpr std::size_t kMostErrorBytes = 1 << 10;
constexpr uid_t kNobody = 65534;
constexpr int kNeeded[] = {CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH};

bool set_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  for (const int capability : kNeeded) {
    data[0].effective |= 1u << capability;
    data[0].permitted |= 1u << capability;
    data[0].inheritable |= 1u << capability;
  }
  if (::syscall(SYS_capset, &header, data) != 0) return false;
  for (const int capability : kNeeded) {
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) return false;
  }
  return true;
}

bool become_nobody() {
  return ::unshare(CLONE_NEWNET) == 0 && ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 &&
         ::setgroups(0, nullptr) == 0 && ::setresgid(kNobody, kNobody, kNobody) == 0 &&
         ::setresuid(kNobody, kNobody, kNobody) == 0 && set_capabilities();
}

std::string read_from_start(int file, std::size_t at_most) {
  std::string text(at_most, '\0');
  const ssize_t got = ::pread(file, text.data(), at_most, 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

struct Running {
  explicit Running(boost::asio::io_context& loop) : timer(loop) {}
  UniqueFd output, errors;
  boost::asio::steady_timer timer;
  bool too_slow = false;
};

Result<std::string> outcome(const Running& running, ProcessEnd end) {
  if (running.too_slow) return {ErrorCode::unavailable, "py-spy did not end within 15 s"};
  if (end.exit_status != 0) {
    return {ErrorCode::unavailable, "py-spy could not read the runner's stacks: " +
                                        read_from_start(running.errors.get(), kMostErrorBytes)};
  }
  std::string text = read_from_start(running.output.get(), kMostBytes + 1);
  if (text.size() > kMostBytes) return {ErrorCode::unavailable, "the stacks are over 1 MiB"};
  return R"({"threads": )" + text + "}";
}

}  // namespace

void dump_stacks(boost::asio::io_context& loop, ProcessTable& processes, const StackDump& dump,
                 std::function<void(Result<std::string>)> done) {
  if (dump.py_spy.empty()) {
    return done({ErrorCode::unavailable,
                 "py-spy is not installed on the container's node; pip install py-spy there, "
                 "beside ember, and start the node again"});
  }
  if (dump.process <= 0) return done({ErrorCode::not_found, "its runner has ended"});
  auto running = std::make_shared<Running>(loop);  // shared: by the timer and by the end
  running->output = UniqueFd(::memfd_create("stacks", MFD_CLOEXEC));
  running->errors = UniqueFd(::memfd_create("errors", MFD_CLOEXEC));
  Command command;
  command.argv = {dump.py_spy,     "dump",  "--json",
                  "--nonblocking", "--pid", std::to_string(dump.process)};
  command.env = {"PATH=/usr/bin:/bin"};
  command.output = running->output.get();
  command.steps.push_back({"apart the errors", [errors = running->errors.get()] {
                             return ::dup2(errors, STDERR_FILENO) >= 0;
                           }});
  if (::geteuid() == 0) command.steps.push_back({"become nobody", become_nobody});
  const auto pid = processes.run(command, [running, done](ProcessEnd end) {
    running->timer.cancel();
    done(outcome(*running, end));
  });
  if (!pid.ok()) return done(pid.error());
  running->timer.expires_after(kTimeLimit);
  running->timer.async_wait([running, &processes, pid = *pid](auto error) {
    if (error) return;
    running->too_slow = true;
    processes.signal(pid, SIGKILL);
  });
}

}  // namespace ember
