#include "node/execs.h"

#include <signal.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <filesystem>
#include <utility>

#include "node/container_processes.h"
#include "node/socket_io.h"
#include "node/unix_socket.h"

namespace ember {
namespace {

namespace fs = std::filesystem;
using boost::asio::posix::stream_descriptor;

constexpr std::chrono::seconds kHangUpGrace{2};
constexpr std::size_t kErrorBytes = 2 << 10;

Error refused(std::string why) { return {ErrorCode::start_failed, std::move(why)}; }

}  // namespace

struct Execs::Exec {
  Exec(boost::asio::io_context& loop, Isolation& its_isolation, const ExecPlan& plan)
      : id(plan.exec),
        isolation(its_isolation),
        record(plan.record),
        size(plan.spec.terminal.value_or(TerminalSize{})),
        console(loop),
        kill_timer(loop) {}

  // The process in the container; 0: there is none yet, or none any more.
  pid_t process() const {
    if (launch.pid_path.empty()) return command;
    return static_cast<pid_t>(
        std::strtol(read_file(launch.pid_path).value_or("").c_str(), nullptr, 10));
  }

  void find_session() {
    if (const pid_t member = process(); member > 0) session = ::getsid(member);
  }

  // What is left of its session, as the machine sees it.
  void signal_session_of(int number) const {
    const auto belongs = [this](pid_t pid) { return isolation.has_process(record, pid); };
    signal_session(session, belongs, number);
  }

  void hang_up() const {
    if (launch.signal) return signal_inside(SIGHUP);
    signal_session_of(SIGHUP);
  }

  void kill() const {
    if (launch.signal) signal_inside(SIGKILL);
    signal_session_of(SIGKILL);
  }

  void signal_inside(int number) const {
    if (const auto signalled = launch.signal(number)) (void)spawn(*signalled).ok();
  }

  const ExecId id;
  Isolation& isolation;
  const ContainerMeta record;
  const TerminalSize size;
  ExecLaunch launch;
  pid_t command = 0;
  pid_t session = 0;  // of the process, once nobody wants it any more
  bool unwanted = false;
  stream_descriptor console;
  boost::asio::steady_timer kill_timer;
};

Execs::Execs(boost::asio::io_context& loop, ProcessTable& processes, std::string directory,
             ExecOwner& owner)
    : loop_(loop), processes_(processes), directory_(std::move(directory)), owner_(owner) {
  std::error_code ignored;  // a command says so where its files cannot be made
  fs::remove_all(directory_, ignored);
  fs::create_directories(directory_, ignored);
  fs::permissions(directory_, fs::perms(0700), ignored);
}

Execs::~Execs() {
  for (const auto& [id, exec] : execs_) {
    exec->find_session();
    exec->kill();  // nobody would be left to end it
    processes_.forget(exec->command);
    remove_files(exec->launch);
  }
}

void Execs::start(Isolation& isolation, ExecPlan plan) {
  if (execs_.contains(plan.exec)) return;
  plan.scratch = directory_ + "/" + plan.exec.text();
  if (auto launched = launch(isolation, plan); !launched.ok()) {
    owner_.on_exec_ended(plan.exec, std::move(launched).error());
  }
}

Result<> Execs::launch(Isolation& isolation, const ExecPlan& plan) {
  if (auto fine = check(plan.spec); !fine.ok()) return fine;
  const auto of_container = std::ranges::count_if(execs_, [&](const auto& entry) {
    return entry.second->record.container == plan.record.container;
  });
  if (execs_.size() >= kMaxExecs ||
      static_cast<std::size_t>(of_container) >= kMaxExecsOfContainer) {
    return {ErrorCode::resource_exhausted,
            "so many commands run in this container or on its node already: 16 and 256 may; end "
            "one first"};
  }
  auto exec = std::make_unique<Exec>(loop_, isolation, plan);
  auto made = isolation.exec(plan);
  if (!made.ok()) return std::move(made).error();
  exec->launch = std::move(*made);
  auto command = processes_.run(exec->launch.command,
                                [this, id = plan.exec](ProcessEnd end) { ended(id, end); });
  if (!command.ok()) {
    remove_files(exec->launch);
    return std::move(command).error();
  }
  exec->command = *command;
  exec->launch.given.clear();
  Exec& running = *(execs_[plan.exec] = std::move(exec));
  if (running.launch.console) {
    running.console.assign(running.launch.console.release());
    wait_for_terminal(running);
  } else {
    hand_over(plan.exec, running.launch);
  }
  return Ok{};
}

// --- the terminal, which the runtime makes and sends over a socket ------------------------------

void Execs::wait_for_terminal(Exec& exec) {
  exec.console.async_wait(stream_descriptor::wait_read, [this, id = exec.id](auto error) {
    const auto found = execs_.find(id);
    if (!error && found != execs_.end()) take_terminal(*found->second);
  });
}

// The connection first, and then, on it, the message with the terminal.
void Execs::take_terminal(Exec& exec) {
  if (UniqueFd connection = accept_one(exec.console.native_handle())) {
    boost::system::error_code ignored;
    exec.console.close(ignored);
    exec.console.assign(connection.release());
    return wait_for_terminal(exec);
  }
  char name[256];
  std::deque<UniqueFd> files;
  receive_bytes(exec.console.native_handle(), name, files);
  boost::system::error_code ignored;
  exec.console.close(ignored);
  if (files.size() != 1) return;  // the runtime says why, and ends
  const winsize wanted{exec.size.rows, exec.size.columns, 0, 0};
  ::ioctl(files.front().get(), TIOCSWINSZ, &wanted);
  exec.launch.terminal = std::move(files.front());
  hand_over(exec.id, exec.launch);
}

void Execs::hand_over(ExecId id, ExecLaunch& launch) {
  const std::pair<ExecStream, UniqueFd*> streams[] = {{ExecStream::terminal, &launch.terminal},
                                                      {ExecStream::input, &launch.input},
                                                      {ExecStream::output, &launch.output},
                                                      {ExecStream::errors, &launch.errors}};
  for (const auto& [stream, file] : streams) {
    if (*file) owner_.on_exec_stream(id, stream, std::move(*file));
  }
}

// --- ending -------------------------------------------------------------------------------------

void Execs::end(ExecId id) {
  const auto found = execs_.find(id);
  if (found == execs_.end() || std::exchange(found->second->unwanted, true)) return;
  Exec& exec = *found->second;
  exec.find_session();
  exec.hang_up();
  exec.kill_timer.expires_after(kHangUpGrace);
  exec.kill_timer.async_wait([this, id](auto error) {
    const auto still = execs_.find(id);
    if (error || still == execs_.end()) return;
    still->second->kill();
    processes_.signal(still->second->command, SIGKILL);
  });
}

void Execs::end_all() {
  for (const auto& [id, exec] : execs_) end(id);
}

void Execs::ended(ExecId id, ProcessEnd end) {
  const auto found = execs_.find(id);
  if (found == execs_.end()) return;
  const std::unique_ptr<Exec> exec = std::move(found->second);
  execs_.erase(found);
  const bool ran = exec->launch.pid_path.empty() || exec->process() != 0;
  std::string why = read_file(exec->launch.errors_path).value_or("").substr(0, kErrorBytes);
  exec->signal_session_of(SIGKILL);  // if it was unwanted: what is left of its session
  remove_files(exec->launch);
  if (!ran) {
    if (exec->launch.word_of_errors) why = exec->launch.word_of_errors(why);
    if (why.empty()) why = "the runtime ended with status " + std::to_string(end.exit_status);
    return owner_.on_exec_ended(id, refused(std::move(why)));
  }
  // A runtime ends like a shell: with 128 and the signal that ended the process.
  constexpr int kEndedBySignal = 128;
  const bool by_runtime = !exec->launch.pid_path.empty();
  const int signal = by_runtime ? std::max(0, end.exit_status - kEndedBySignal) : end.signal;
  // runsc ends so, with a word, when the whole container has.
  if (by_runtime && end.exit_status == kEndedBySignal && !why.empty()) end = {.signal = SIGKILL};
  if (end.signal != 0 || (by_runtime && signal > 0 && signal < NSIG)) {
    return owner_.on_exec_ended(id, ExecExit{.status = -1, .signal = std::max(signal, end.signal)});
  }
  owner_.on_exec_ended(id, ExecExit{.status = end.exit_status, .signal = 0});
}

}  // namespace ember
