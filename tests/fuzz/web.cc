// covers: src/gateway/web_connection.cc src/gateway/web_request.cc src/gateway/web_answer.cc
// covers: src/gateway/forwarded_head.cc src/gateway/answer_head.cc src/gateway/header_fields.cc
//
// A connection to web endpoints, whose apps answer by turns well, badly and not at all: what comes
// out is a row of answers, and what goes on to an app is one head in plain lines. The same bytes as
// an app's own head: what is taken of it can end no head early.
#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <memory>

#include "gateway/answer_head.h"
#include "gateway/fake_control.h"
#include "gateway/web_connection.h"
#include "loop.h"
#include "targets.h"

namespace ember::fuzz {
namespace {

WebOptions options() {
  WebOptions options;
  options.address = "127.0.0.1";
  options.wall_clock = [] { return Time::from_ms(1'700'000'000'000); };
  options.limits.web_head_bytes = 1024;
  return options;
}

// Lines "name: value" alone, which nothing in them ends.
void check_lines(std::string_view lines) {
  while (!lines.empty()) {
    const std::size_t end = lines.find("\r\n");
    EMBER_ASSERT(end != lines.npos);
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + 2);
    EMBER_ASSERT(!line.empty());
    EMBER_ASSERT(line.find_first_of("\r\n") == line.npos);
    EMBER_ASSERT(line.find(':') != line.npos);
  }
}

void check_forwarded(std::string_view head) {
  EMBER_ASSERT(head.ends_with("\r\n\r\n"));
  const std::size_t first = head.find("\r\n");
  EMBER_ASSERT(head.substr(0, first).ends_with(" HTTP/1.1"));
  check_lines(head.substr(first + 2, head.size() - first - 4));
}

// Each request that has come: in turn answered in one way or another, or left alone.
void answer(FakeWeb& web, std::size_t& answered, std::uint8_t choice) {
  for (; answered < web.requests.size(); ++answered) {
    const auto& request = web.requests[answered];
    check_forwarded(request.head);
    const auto is_it = [&](CallId call) { return call == request.id; };
    const auto gone = [&] { return std::ranges::any_of(web.abandoned, is_it); };
    const std::size_t way = (answered + choice) % 6;
    if (gone() || way == 0) continue;
    if (way == 1) {
      request.client->on_failure({{ErrorCode::user_exception, "why"}});
      continue;
    }
    constexpr std::string_view kHeads[] = {"200\r\n", "200\r\nContent-Length: 4\r\n", "101\r\n",
                                           "204\r\nA: b\r\n"};
    request.client->on_piece(std::string(kHeads[way - 2]));
    if (!gone()) request.client->on_piece("body");
    if (!gone() && way != 4) request.client->on_end();
  }
}

void check_answers(std::string_view out) {
  while (out.starts_with("HTTP/1.1 ")) {
    const std::size_t end = out.find("\r\n\r\n");
    EMBER_ASSERT(end != out.npos);
    const std::size_t first = out.find("\r\n");
    if (first < end) check_lines(out.substr(first + 2, end - first));
    out.remove_prefix(end + 4);
    out.remove_prefix(std::min(out.size(), out.find("HTTP/1.1 ")));
  }
  EMBER_ASSERT(out.empty());
}

}  // namespace

void web(std::string_view bytes) {
  const Input input(bytes);
  if (const auto head = parse_answer_head(input.rest); head.ok()) check_lines(head->fields);
  auto [ours, theirs] = socket_pair();
  boost::asio::ip::tcp::socket socket(loop());
  socket.assign(boost::asio::ip::tcp::v4(), ours.release());
  FakeControl control;
  control.fake_web.endpoints["a"] = {"app", "f", WebAccess::open};
  control.fake_web.endpoints["b"] = {"app", "g", WebAccess::by_key};
  const auto edge = std::make_shared<WebEdge>(control, options());
  edge->date_line = "Date: now\r\n";
  edge->connections.push_back(std::make_shared<WebConnection>(edge, std::move(socket)));
  edge->connections.back()->start();
  std::size_t answered = 0;
  std::string out;
  send_in_pieces(theirs, input.rest, input.choice, [&] {
    answer(control.fake_web, answered, input.choice);
    turn();
    out += receive_all(theirs);
  });
  for (int second = 0; second < 100 && !edge->connections.empty(); ++second) {
    ++edge->tick;
    const auto kept = edge->connections.back();
    kept->tick();
    turn();
    out += receive_all(theirs);
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
}

}  // namespace ember::fuzz
