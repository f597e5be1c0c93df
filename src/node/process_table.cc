#include "node/process_table.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

// Declared for C alone by glibc 2.36.
extern "C" {
#include <sys/pidfd.h>
}

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/assert.h"

namespace ember {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

[[noreturn]] void give_up(const char* step) {
  const std::string line = std::string(step) + ": " + std::strerror(errno) + "\n";
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
  ::_exit(kPreparationFailed);
}

// A pipe that nobody writes to, and not /dev/null: crun gives its stdin to the container's user,
// and that device is the machine's.
int ended_input() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return -1;
  ::close(ends[1]);
  return ends[0];
}

void redirect(int output) {
  const int out = output >= 0 ? output : ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (::dup2(out, STDOUT_FILENO) < 0 || ::dup2(out, STDERR_FILENO) < 0 ||
      ::dup2(ended_input(), STDIN_FILENO) < 0) {
    ::_exit(kPreparationFailed);
  }
}

void default_signals() {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// The child's side of spawn: only what it needs, then the program.
[[noreturn]] void become(const Command& command) {
  default_signals();
  redirect(command.output);
  if (::setsid() < 0) give_up("begin a session");
  if (::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) != 0) give_up("close descriptors");
  for (const int file : command.inherited) ::fcntl(file, F_SETFD, 0);
  for (const PreparationStep& step : command.steps) {
    if (!step.run()) give_up(step.name);
  }
  if (::chdir(command.directory.c_str()) != 0) give_up("enter the working directory");
  const auto argv = pointers(command.argv), env = pointers(command.env);
  if (command.program) {
    ::execveat(command.program->get(), "", argv.data(), env.data(), AT_EMPTY_PATH);
  } else {
    ::execve(command.argv[0].c_str(), argv.data(), env.data());
  }
  give_up(command.argv[0].c_str());
}

// How much of a file of /proc is looked at: others write what is in some, and each end of a
// container reads those of all processes.
constexpr std::size_t kMostRead = 64 << 10;

std::string read_beginning(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  for (ssize_t got = 1; file && got > 0 && text.size() < kMostRead;) {
    const std::size_t old_size = text.size();
    text.resize(old_size + (4 << 10));
    got = ::read(file.get(), text.data() + old_size, 4 << 10);
    text.resize(old_size + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  }
  return text;
}

// The status that waiting leaves, for our own children.
ProcessEnd collect(int pidfd) {
  siginfo_t info{};
  if (::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info,
               WEXITED | WNOHANG) != 0 ||
      info.si_pid == 0) {
    return {};
  }
  if (info.si_code == CLD_EXITED) return {.exit_status = info.si_status, .signal = 0};
  return {.exit_status = -1, .signal = info.si_status};
}

}  // namespace

Result<pid_t> spawn(const Command& command) {
  EMBER_ASSERT(!command.argv.empty());
  const pid_t pid = ::fork();
  if (pid == 0) become(command);
  if (pid < 0) return {ErrorCode::unavailable, std::string("fork: ") + std::strerror(errno)};
  return pid;
}

struct ProcessTable::Watched {
  boost::asio::posix::stream_descriptor pidfd;
  OnEnd on_end;
};

ProcessTable::ProcessTable(boost::asio::io_context& loop) : loop_(loop) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

ProcessTable::~ProcessTable() = default;

Result<> ProcessTable::watch(pid_t pid, OnEnd on_end) {
  UniqueFd pidfd(::pidfd_open(pid, 0));
  if (!pidfd) {
    return {ErrorCode::not_found, "process " + std::to_string(pid) + ": " + std::strerror(errno)};
  }
  auto watched = std::make_unique<Watched>(
      Watched{boost::asio::posix::stream_descriptor(loop_, pidfd.release()), std::move(on_end)});
  watched_[pid] = std::move(watched);
  wait(pid);
  return Ok{};
}

void ProcessTable::wait(pid_t pid) {
  watched_[pid]->pidfd.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                  [this, pid](auto error) {
                                    if (!error) ended(pid);
                                  });
}

void ProcessTable::ended(pid_t pid) {
  const auto found = watched_.find(pid);
  if (found == watched_.end()) return;
  const ProcessEnd end = collect(found->second->pidfd.native_handle());
  const OnEnd on_end = std::move(found->second->on_end);
  watched_.erase(found);
  on_end(end);
}

Result<pid_t> ProcessTable::run(const Command& command, OnEnd on_end) {
  auto pid = spawn(command);
  if (!pid.ok()) return pid;
  // A child cannot vanish before it is waited for, so its pidfd can always be had.
  if (auto watched = watch(*pid, std::move(on_end)); !watched.ok()) {
    return std::move(watched).error();
  }
  return pid;
}

bool ProcessTable::signal(pid_t pid, int number) const {
  const auto found = watched_.find(pid);
  return found != watched_.end() &&
         ::pidfd_send_signal(found->second->pidfd.native_handle(), number, nullptr, 0) == 0;
}

void ProcessTable::forget(pid_t pid) { watched_.erase(pid); }

void ProcessTable::reap_strangers() {
  std::ifstream children("/proc/thread-self/children");
  for (pid_t pid; children >> pid;) {
    if (!watched_.contains(pid)) ::waitpid(pid, nullptr, WNOHANG);
  }
}

std::uint64_t process_start_ticks(pid_t pid) {
  const std::string stat = read_beginning("/proc/" + std::to_string(pid) + "/stat");
  // The name in parentheses may hold anything; the state follows its last one.
  const auto name_end = stat.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string state, skipped;
  fields >> state;
  if (state == "Z" || state == "X") return 0;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  std::uint64_t ticks = 0;
  fields >> ticks;
  return ticks;
}

pid_t first_child_of(pid_t pid) {
  const std::string number = std::to_string(pid);
  std::ifstream children("/proc/" + number + "/task/" + number + "/children");
  pid_t first = 0;
  children >> first;
  return first;
}

bool process_has_env(pid_t pid, const std::string& entry) {
  const std::string needle = entry + '\0';
  const std::string env = read_beginning("/proc/" + std::to_string(pid) + "/environ");
  return env.starts_with(needle) || env.find('\0' + needle) != std::string::npos;
}

// Not the owner of its files in /proc: they are root's where the process may not be dumped.
std::optional<uid_t> process_user(pid_t pid) {
  constexpr std::string_view kField = "\nUid:\t";
  const std::string status = read_beginning("/proc/" + std::to_string(pid) + "/status");
  const auto at = status.find(kField);
  if (at == std::string::npos) return std::nullopt;
  return static_cast<uid_t>(std::strtoul(status.c_str() + at + kField.size(), nullptr, 10));
}

std::vector<pid_t> processes_with_env(const std::string& entry) {
  std::vector<pid_t> found;
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return found;
  while (const dirent* item = ::readdir(proc)) {
    const pid_t pid = static_cast<pid_t>(std::strtol(item->d_name, nullptr, 10));
    if (pid <= 0) continue;
    if (process_has_env(pid, entry) && process_start_ticks(pid) != 0) found.push_back(pid);
  }
  ::closedir(proc);
  return found;
}

void end_marked_processes(const std::string& entry) {
  constexpr int kRounds = 50;  // a process that forks while it is killed is met again
  for (int round = 0; round < kRounds; ++round) {
    const auto left = processes_with_env(entry);
    if (left.empty()) return;
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
    ::usleep(1000);  // they die on their own time; the next round sees who is left
  }
}

}  // namespace ember
