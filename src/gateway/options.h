// What a server is told at its start: where to listen and how much it takes from strangers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "gateway/open_rates.h"

namespace ember {

struct ServerLimits {
  std::size_t connections = 20'000;           // more than the calls that one function holds
  std::size_t client_call_bytes = 2u << 30;   // of the arguments of calls that wait or run
  std::size_t head_bytes = 16u << 10;         // request line and header fields
  std::size_t web_head_bytes = 64u << 10;     // of a request to a web endpoint
  std::size_t body_bytes = 64u << 20;         // of one request
  std::size_t all_bodies_bytes = 1u << 30;    // of all requests being received
  std::size_t stream_queue_bytes = 1u << 20;  // waiting for one slow reader of a stream

  // Kept by a scan once a second, so each may last a second longer.
  std::uint32_t head_seconds = 10;        // from the first byte of a request to its last header
  std::uint32_t idle_seconds = 120;       // between requests
  std::uint32_t body_grace_seconds = 10;  // before the rate below counts
  std::uint32_t body_bytes_per_second = 1024;  // slowest average accepted
  std::uint32_t write_stall_seconds = 30;      // without a byte leaving
  std::uint32_t linger_seconds = 2;            // for a refused client to read why
  std::uint32_t stream_blank_seconds = 15;     // between blank lines of a silent stream
  std::uint32_t message_ping_seconds = 15;     // between pings of a conversation in messages
  std::uint32_t message_silence_seconds = 45;  // without a byte from its client, pongs included
  std::uint32_t make_way_seconds = 2;       // in a head or between requests, when no room is left
  std::uint32_t body_stall_seconds = 60;    // of a web request's, while there is room for it
  std::uint32_t tunnel_leave_seconds = 10;  // for an app whose client has left its conversation

  // Calls that clients wait for, each on its connection; a tenth is left for all else.
  std::size_t client_calls() const { return connections - connections / 10; }
};

struct ServerOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 7777;  // 0: any free one, see Server::port()
  std::string_view flag = "--listen";
  // Host names that may be used, beside localhost, when the address is a loopback one.
  std::vector<std::string> host_names;
  ServerLimits limits;
  Time (*wall_clock)() = nullptr;  // required; for Date headers and default time ranges
};

// Of the origin that users' own apps have.
struct WebOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 7778;
  std::string_view flag = "--web-listen";
  std::string domain;  // of the endpoints' names, beside localhost; "": none
  OpenRate open_rate = {};
  ServerLimits limits;
  Time (*wall_clock)() = nullptr;  // required
};

}  // namespace ember
