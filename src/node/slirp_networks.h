// Networks that a user-mode network stack (slirp4netns) speaks for, a process beside each
// container: no rule and no route of the machine is touched, and no privilege is taken but that of
// making the namespace.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "node/closed_networks.h"
#include "node/network_maker.h"
#include "node/process_table.h"

namespace ember {

struct SlirpSetup {
  std::string program;               // slirp4netns; empty: none can be made
  std::string mark;                  // an environment entry: a later life of the node knows them by
  std::vector<Ipv4Network> allowed;  // of those that are closed
};

std::unique_ptr<NetworkMaker> make_slirp_networks(boost::asio::io_context& loop,
                                                  ProcessTable& processes, SlirpSetup setup);

}  // namespace ember
