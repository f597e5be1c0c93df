// One container's life on this node: starting, running, ending; with its files on disk ahead of
// each step, so that another life of the node can take it over wherever this one stops.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "node/isolation.h"
#include "node/process_table.h"

namespace ember {

class ContainerOwner {
 public:
  virtual ~ContainerOwner() = default;
  virtual void on_container_started(ContainerId container, Time at) = 0;
  // The container holds nothing; it may be destroyed in the call. The same for `ended`.
  virtual void on_container_refused(ContainerId container, std::string why) = 0;
  virtual void on_container_ended(ContainerExit exit) = 0;
  virtual void on_container_runner(ContainerId container) = 0;  // take_runner() has a socket
};

struct ContainerTools {
  boost::asio::io_context& loop;
  ProcessTable& processes;
  ContainerOwner& owner;
  Time (*now)();
};

class NodeContainer {
 public:
  NodeContainer(const ContainerTools& tools, Isolation& isolation, ContainerMeta record,
                ContainerFiles files);

  void launch(LaunchPlan plan, UniqueFd source);
  // Goes on with a container that an earlier life of the node started. `last_seen` is when it ended
  // at the latest if it has ended.
  void adopt(Time last_seen);

  void stop(Duration grace);
  // It held more of its device's memory than its share: ends it, and says so of its end.
  void end_over_share(std::int64_t used_bytes);
  void interrupt();
  void remount(VolumeDirectories volume, uid_t owner, std::function<void(Result<>)> done);
  // The newest connection of the runner, if nobody has taken it.
  UniqueFd take_runner() { return std::move(runner_socket_); }

  const ContainerMeta& record() const { return record_; }
  const ContainerFiles& files() const { return files_; }
  Isolation& isolation() const { return isolation_; }
  // The process that stands for the runner while that runs; 0 before and after.
  pid_t process() const { return state_ == State::running ? pid_ : 0; }
  bool has_runner() const { return static_cast<bool>(runner_socket_); }
  void take_output() const { files_.take_output(); }
  // What has left it so far, looked up anew; 0 where that is not metered.
  std::int64_t egress_bytes();
  // The same, if it is more than when it was last told.
  std::optional<std::int64_t> untold_egress_bytes();

 private:
  enum class State { starting, running, ended };

  void launched(Result<pid_t> pid);
  bool follow();
  Result<> listen();
  void wait_for_runners();
  void accept_runners();
  void refuse(std::string why);
  void kill();
  void kill_after(Duration grace);
  void network_ended();
  void ended(ProcessEnd end, Time at);

  ContainerTools tools_;
  Isolation& isolation_;
  const ContainerMeta record_;
  const ContainerFiles files_;
  State state_ = State::starting;
  pid_t pid_ = 0;
  std::optional<Duration> stop_wanted_;  // while it was starting
  boost::asio::posix::stream_descriptor listener_;
  boost::asio::steady_timer kill_timer_;
  UniqueFd runner_socket_;
  UniqueFd output_;                    // the node's end of its pipe
  bool killed_ = false;                // by this node
  bool met_strangers_ = false;         // that connected and are not the runner
  std::string fault_;                  // for which the container is being ended
  std::int64_t over_share_bytes_ = 0;  // what it used of its device, when it is ended for that
  std::int64_t egress_bytes_ = 0;      // as last seen: the network may end before the container
  std::int64_t egress_bytes_told_ = 0;
  // Callbacks that still sit in the loop ask it whether the container has gone.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace ember
