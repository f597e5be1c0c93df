// `emberd node`: one machine's hands. It starts and ends containers, builds images and holds the
// devices, on the word of one driver over a Unix socket; it outlives the driver, and its containers
// outlive it. One process, one thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "node/node_options.h"

namespace ember {

class Agent {
 public:
  // Probes the machine, takes over the containers that an earlier agent left on this data
  // directory, and listens for a driver at <data>/node/node.sock.
  static Result<std::unique_ptr<Agent>> start(boost::asio::io_context& loop,
                                              const NodeOptions& options);
  virtual ~Agent() = default;  // the containers go on

  // Ends every container and starts no more; `done` once none is left. Their ends are kept for the
  // next agent to tell. Once.
  virtual void end_containers(std::function<void()> done) = 0;
};

// The role's whole life. At SIGTERM it ends and the containers go on; at SIGINT it ends them first,
// or leaves them at a second signal. The process's exit status.
int run_node(const NodeOptions& options);

}  // namespace ember
