#include "node/process_isolation.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <filesystem>
#include <sstream>

#include "base/disk_error.h"
#include "node/process_table.h"
#include "node/runner_env.h"

namespace ember {
namespace {

std::string path_of(const UniqueFd& directory) {
  if (!directory) return "";
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(directory.get()), ignored)
      .string();
}

// NAME=value, all of it; nothing if there is no such process.
std::vector<std::string> first_environment(pid_t pid) {
  std::istringstream text(read_file("/proc/" + std::to_string(pid) + "/environ").value_or(""));
  std::vector<std::string> entries;
  for (std::string entry; std::getline(text, entry, '\0');) entries.push_back(entry);
  return entries;
}

class ProcessIsolation final : public Isolation {
 public:
  ProcessIsolation(boost::asio::io_context& loop, NodeId node, std::string python_directory)
      : loop_(loop), node_(node), python_directory_(std::move(python_directory)) {}

  std::string_view name() const override { return "process"; }

  void launch(LaunchPlan plan, UniqueFd source, std::function<void(Result<pid_t>)> done) override {
    boost::asio::post(loop_, [done = std::move(done), pid = start(plan, source)]() mutable {
      done(std::move(pid));
    });
  }

  bool owns(const ContainerMeta&, pid_t runner, const ucred& peer) const override {
    return peer.pid == runner;
  }

  bool has_process(const ContainerMeta& record, pid_t process) const override {
    return process_has_env(process, container_mark(node_, record.container));
  }

  // In the runner's own environment, as it was started with.
  Result<ExecLaunch> exec(const ExecPlan& plan) override {
    ExecLaunch launch;
    Command& command = launch.command;
    command.env = first_environment(plan.runner);
    if (command.env.empty()) return {ErrorCode::not_found, "its runner has ended"};
    command.argv = {"/usr/bin/env", "--"};
    command.argv.insert(command.argv.end(), plan.spec.arguments.begin(), plan.spec.arguments.end());
    command.directory = plan.files.home_directory();
    if (plan.spec.terminal) command.env.push_back("TERM=" + plan.spec.terminal_type);
    auto given = plan.spec.terminal ? give_terminal(launch, *plan.spec.terminal)
                                    : give_pipes(launch, ::geteuid());
    if (!given.ok()) return std::move(given).error();
    return launch;
  }

  void kill_all(const ContainerMeta& record, pid_t runner) override {
    ::kill(-runner, SIGKILL);
    end_marked_processes(container_mark(node_, record.container));
  }

  // Its traffic is the machine's, and not to be told apart from it.
  std::optional<std::int64_t> egress_bytes(const ContainerMeta&) const override {
    return std::nullopt;
  }

  // Nothing limits its memory, so the kernel never ends it for a limit of ours.
  Remains clean_up(const ContainerMeta& record, pid_t runner) override {
    if (runner > 0) ::kill(-runner, SIGKILL);
    end_marked_processes(container_mark(node_, record.container));
    return {};
  }

 private:
  Result<pid_t> start(const LaunchPlan& plan, const UniqueFd& source) {
    const ContainerFiles& files = plan.files;
    if (plan.sandbox.network.access != NetworkAccess::internet) {
      return {
          ErrorCode::unavailable,
          "its network setting cannot be kept: this node runs plain processes, on the machine's "
          "own network"};
    }
    if (plan.sandbox.ephemeral_disk_bytes > 0) {
      return {ErrorCode::unavailable,
              "its ephemeral disk takes containers: this node runs plain processes"};
    }
    if (plan.image.has_own_root()) {
      return {ErrorCode::unavailable,
              "its image has a root of its own, which takes containers: this node runs plain "
              "processes; use Image.host()"};
    }
    if (files.socket_path().size() >= sizeof(sockaddr_un::sun_path)) {
      return {ErrorCode::start_failed,
              "the data directory's path is too long for a socket: " + files.socket_path()};
    }
    const UniqueFd output(
        ::open(files.output_path().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!output) return disk_error(files.output_path(), errno);
    Command command;
    command.argv = plan.argv;
    command.env = runner_env(plan,
                             {.python = python_directory_,
                              .layers = plan.image.packages,
                              .home = files.home_directory(),
                              .temporary = files.home_directory(),
                              .run = files.run_directory(),
                              .source = path_of(source)},
                             container_mark(node_, plan.record.container));
    command.directory = files.home_directory();
    command.output = output.get();
    // The child itself: were the node to die now, its next life would find the runner.
    command.steps = {
        {"write the pid", [&files] {
           return files.write_runner({::getpid(), process_start_ticks(::getpid())}).ok();
         }}};
    return spawn(command);
  }

  boost::asio::io_context& loop_;
  const NodeId node_;
  const std::string python_directory_;
};

}  // namespace

std::unique_ptr<Isolation> make_process_isolation(boost::asio::io_context& loop, NodeId node,
                                                  std::string python_directory) {
  return std::make_unique<ProcessIsolation>(loop, node, std::move(python_directory));
}

}  // namespace ember
