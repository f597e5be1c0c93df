// Networks of containers: a namespace each, whose one way out is a user-mode network stack
// (slirp4netns): no privilege, no rule and no route of the machine is touched, and the machine's
// own services and private networks are out of reach (closed_networks.h). A few are made ahead, so
// that no start waits for one.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "node/closed_networks.h"
#include "node/process_table.h"

namespace ember {

inline constexpr const char* kSlirpNameServer = "10.0.2.3";

struct Network {
  pid_t pid = 0;     // of its slirp4netns, which lives as long as the network
  std::string path;  // of the namespace
};

class NetworkPool {
 public:
  struct Options {
    std::string program;  // slirp4netns
    std::string mark;     // an environment entry: a later life of the node knows them by it
    std::vector<Ipv4Network> allowed;  // of those that are closed
    std::size_t spare = 2;             // made ahead
  };
  NetworkPool(boost::asio::io_context& loop, ProcessTable& processes, Options options);
  ~NetworkPool();  // ends those that nobody took, and waits for their ends

  // Makes the spare ones; taking makes them as needed.
  void fill();
  // Calls back once, from the loop or at once.
  void take(std::function<void(Result<Network>)> done);
  // What has left the network since it was made; nothing once its process has ended.
  static std::optional<std::int64_t> egress_bytes(pid_t pid);
  // Ends the network's process.
  static void end(pid_t pid);
  // Ends all of this node, those that containers took too, and waits for their ends.
  void end_all();

 private:
  struct Making;

  void make();
  void wait_until_ready(pid_t pid);
  void made(pid_t pid);
  void failed(pid_t pid, std::string why);

  boost::asio::io_context& loop_;
  ProcessTable& processes_;
  const Options options_;
  std::map<pid_t, std::unique_ptr<Making>> making_;
  std::deque<Network> ready_;
  std::deque<std::function<void(Result<Network>)>> waiting_;
};

}  // namespace ember
