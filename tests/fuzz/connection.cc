// covers: src/gateway/connection.cc src/gateway/connection_request.cc
// covers: src/gateway/connection_answer.cc src/gateway/output.cc src/gateway/response_head.cc
// covers: src/gateway/api_deploy.cc src/gateway/api_look.cc src/gateway/api_logs.cc
// covers: src/gateway/exchange.cc src/gateway/connection_messages.cc src/gateway/websocket.cc
// covers: src/gateway/api_inside.cc src/gateway/connection_items.cc src/gateway/item_stream.cc
//
// A whole connection: what comes out is a row of well-formed answers, nothing follows one that
// announces the close, and no bytes of bodies stay accounted for.
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "gateway/connection.h"
#include "gateway/fake_control.h"
#include "loop.h"
#include "targets.h"

namespace ember::fuzz {
namespace {

ServerOptions options() {
  ServerOptions options;
  options.address = "127.0.0.1";
  options.wall_clock = [] { return Time::from_ms(1'700'000'000'000); };
  options.limits.head_bytes = 1024;
  options.limits.body_bytes = 4096;
  options.limits.all_bodies_bytes = 6000;
  return options;
}

// Answers each call that has begun: results, items and failures in turn.
void answer_calls(FakeControl& control, std::size_t& answered) {
  for (; answered < control.calls.size(); ++answered) {
    const auto call = control.calls[answered];
    if (std::ranges::count(control.abandoned, call.id) > 0) continue;
    const bool is_stream = call.arguments.bytes.size() % 4 == 1;
    if (is_stream) call.waiter->on_item({BodyFormat::json, call.arguments.bytes});
    if (call.arguments.bytes.size() % 3 == 0) {
      call.waiter->on_failure({{ErrorCode::user_exception, call.arguments.bytes}, {}, 0},
                              control.report(call));
    } else {
      CallReport report = control.report(call);
      report.is_stream = is_stream;
      call.waiter->on_result({BodyFormat::json, call.arguments.bytes}, report);
    }
  }
}

std::string_view take(std::string_view& bytes, std::size_t size) {
  EMBER_ASSERT(size <= bytes.size());
  const std::string_view taken = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return taken;
}

std::string field(std::string_view head, std::string_view name) {
  const std::size_t at = head.find("\r\n" + std::string(name) + ": ");
  if (at == std::string_view::npos) return {};
  const std::size_t start = at + name.size() + 4;
  return std::string(head.substr(start, head.find("\r\n", start) - start));
}

// The chunks of a stream that may go on.
void check_stream(std::string_view& out) {
  while (!out.empty()) {
    const std::size_t line = out.find("\r\n");
    EMBER_ASSERT(line != std::string_view::npos);
    const std::size_t size = std::stoul(std::string(out.substr(0, line)), nullptr, 16);
    take(out, line + 2);
    take(out, size);
    EMBER_ASSERT(take(out, 2) == "\r\n");
    if (size == 0) return;
  }
}

// Frames of a server: whole but for the last, unmasked, and nothing behind a close.
void check_frames(std::string_view out) {
  while (out.size() >= 2) {
    const auto first = static_cast<unsigned char>(out[0]);
    const auto second = static_cast<unsigned char>(out[1]);
    EMBER_ASSERT((first & 0xf0) == 0x80);
    EMBER_ASSERT(second < 0x80);
    const std::size_t further = second == 126 ? 2 : second == 127 ? 8 : 0;
    if (out.size() < 2 + further) return;
    std::uint64_t size = further == 0 ? second : 0;
    for (std::size_t i = 0; i < further; ++i) {
      size = size << 8 | static_cast<unsigned char>(out[2 + i]);
    }
    if (out.size() - 2 - further < size) return;
    take(out, 2 + further + static_cast<std::size_t>(size));
    if ((first & 0x0f) == 8) EMBER_ASSERT(out.empty());
  }
}

void check_answers(std::string_view out) {
  while (!out.empty()) {
    EMBER_ASSERT(out.starts_with("HTTP/1.1 "));
    const std::size_t end = out.find("\r\n\r\n");
    EMBER_ASSERT(end != std::string_view::npos);
    const std::string head(take(out, end + 4));
    const int status = std::stoi(head.substr(9, 3));
    if (status == 100) continue;
    if (status == 101) return check_frames(out);
    const bool closes = field(head, "Connection") == "close";
    if (const std::string length = field(head, "Content-Length"); !length.empty()) {
      const std::size_t size = std::stoul(length);
      if (size > out.size()) return;  // an answer to HEAD; what is behind it is not looked at
      if (out.starts_with("HTTP/1.1 ")) continue;  // the same, and others follow
      const std::string_view body = take(out, size);
      if (status != 200) EMBER_ASSERT(nlohmann::json::accept(body));
    } else if (field(head, "Transfer-Encoding") == "chunked") {
      check_stream(out);
    } else {
      return;  // until the close
    }
    EMBER_ASSERT(!closes || out.empty());
  }
}

}  // namespace

void connection(std::string_view bytes) {
  const Input input(bytes);
  auto [ours, theirs] = socket_pair();
  boost::asio::ip::tcp::socket socket(loop());
  socket.assign(boost::asio::ip::tcp::v4(), ours.release());
  FakeControl control;
  std::size_t answered = 0;
  std::string out;
  const auto edge = std::make_shared<Edge>(control, options());
  edge->date_line = "Date: now\r\n";
  edge->connections.push_back(std::make_shared<Connection>(edge, std::move(socket)));
  edge->connections.back()->start();
  send_in_pieces(theirs, input.rest, input.choice, [&] {
    answer_calls(control, answered);
    turn();
    out += receive_all(theirs);
  });
  if (!edge->connections.empty() && input.choice % 2 == 1) {
    // Its time limits: it is told, or closed, or waits for an answer that never comes.
    for (int second = 0; second < 200 && !edge->connections.empty(); ++second) {
      ++edge->tick;
      const auto kept = edge->connections.back();
      kept->tick();
      turn();
      out += receive_all(theirs);
    }
  }
  check_answers(out);
  theirs.reset();
  turn();
  if (!edge->connections.empty()) {
    const auto kept = edge->connections.back();
    kept->close();
  }
  turn();
  EMBER_ASSERT(edge->connections.empty());
  EMBER_ASSERT(edge->body_bytes == 0);
  EMBER_ASSERT(control.sessions == 0);
}

}  // namespace ember::fuzz
