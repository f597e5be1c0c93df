// What all connections of a server share. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "control/control.h"
#include "gateway/api.h"
#include "gateway/client_calls.h"
#include "gateway/host_list.h"
#include "gateway/options.h"
#include "gateway/router.h"

namespace ember {

class Connection;

struct Edge {
  Edge(Control& control_plane, ServerOptions given)
      : control(control_plane),
        options(std::move(given)),
        hosts(options.address, options.host_names),
        routes(make_routes(options.limits.body_bytes)),
        client_calls({options.limits.client_calls(), options.limits.client_call_bytes}) {}

  Control& control;
  const ServerOptions options;
  const HostList hosts;
  const std::vector<Route> routes;
  ClientCalls client_calls;
  EdgeStats stats;
  std::uint64_t tick = 1;      // seconds since the start, counted by the scan
  std::string date_line;       // of this tick
  std::size_t body_bytes = 0;  // of requests being received
  // Received bytes pass through here, so that an idle connection holds no buffer.
  std::array<char, 64u << 10> scratch;
  // Shared with the handlers that wait on their sockets; a closed connection leaves the list.
  std::vector<std::shared_ptr<Connection>> connections;
};

}  // namespace ember
