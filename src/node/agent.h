// `emberd node`: one machine's hands. It starts and ends containers, builds images and holds the
// devices, on the word of one driver over a Unix socket; it outlives the driver, and its containers
// outlive it. One process, one thread.
#pragma once

#include <boost/asio/io_context.hpp>
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
};

// The role's whole life, until SIGTERM or SIGINT. The process's exit status.
int run_node(const NodeOptions& options);

}  // namespace ember
