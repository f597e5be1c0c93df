// The processes that a driver has had run in containers, beside the containers' first ones. They
// are the driver's: it alone has the other ends of what they speak by, and they end when it goes.
#pragma once

#include <boost/asio/io_context.hpp>
#include <map>
#include <memory>
#include <string>

#include "node/exec_launch.h"
#include "node/isolation.h"
#include "node/node_client.h"
#include "node/process_table.h"

namespace ember {

inline constexpr std::size_t kMaxExecs = 256;
inline constexpr std::size_t kMaxExecsOfContainer = 16;

class ExecOwner {
 public:
  virtual ~ExecOwner() = default;
  virtual void on_exec_stream(ExecId exec, ExecStream stream, UniqueFd file) = 0;
  // Once, the last of it.
  virtual void on_exec_ended(ExecId exec, Result<ExecExit> exit) = 0;
};

class Execs {
 public:
  // The directory is made anew: it holds files of commands that run.
  Execs(boost::asio::io_context& loop, ProcessTable& processes, std::string directory,
        ExecOwner& owner);
  ~Execs();

  // A failure is told by on_exec_ended(), like an end.
  void start(Isolation& isolation, ExecPlan plan);
  // SIGHUP for the process's session, and SIGKILL for what is left of it a little later.
  void end(ExecId id);
  void end_all();

 private:
  struct Exec;

  Result<> launch(Isolation& isolation, const ExecPlan& plan);
  void wait_for_terminal(Exec& exec);
  void take_terminal(Exec& exec);
  void hand_over(ExecId id, ExecLaunch& launch);
  void ended(ExecId id, ProcessEnd end);

  boost::asio::io_context& loop_;
  ProcessTable& processes_;
  const std::string directory_;
  ExecOwner& owner_;
  std::map<ExecId, std::unique_ptr<Exec>> execs_;
};

}  // namespace ember
