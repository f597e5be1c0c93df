// What all connections to web endpoints share. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "control/web_service.h"
#include "gateway/api.h"
#include "gateway/client_calls.h"
#include "gateway/options.h"

namespace ember {

class WebConnection;

struct WebEdge {
  WebEdge(Control& control_plane, WebOptions given)
      : control(control_plane),
        web(control_plane.web()),
        options(std::move(given)),
        client_calls({options.limits.client_calls(), options.limits.client_call_bytes}),
        open_rates(options.open_rate) {}

  Control& control;
  WebService& web;
  const WebOptions options;
  ClientCalls client_calls;
  OpenRates open_rates;  // of endpoints that ask for no key
  EdgeStats stats;
  std::uint64_t tick = 1;  // seconds since the start, counted by the scan
  std::string date_line;   // of this tick
  std::array<char, 64u << 10> scratch;
  std::vector<std::shared_ptr<WebConnection>> connections;
};

}  // namespace ember
