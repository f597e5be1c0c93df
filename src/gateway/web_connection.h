// One client of web endpoints: its requests go on to apps as they come, and their answers back.
//
// Requests of a connection are served one after the other. A body is never held whole: what the app
// has not taken stays, beyond a window, in the client's socket, and what the client has not read
// stays with the app. After a 101 the connection is a tunnel: bytes both ways, which nobody reads.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "control/web_service.h"
#include "gateway/answer_head.h"
#include "gateway/http.h"
#include "gateway/output.h"
#include "gateway/request_parser.h"
#include "gateway/response_head.h"
#include "gateway/web_edge.h"

namespace ember {

class WebConnection final : private WebClient, public std::enable_shared_from_this<WebConnection> {
 public:
  WebConnection(std::shared_ptr<WebEdge> edge, boost::asio::ip::tcp::socket socket);
  ~WebConnection() override;

  // As those of Connection.
  void start();
  void tick();
  void close();
  void drain();
  bool may_make_way() const;
  std::size_t index = 0;

 private:
  enum class State : std::uint8_t {
    head,       // between requests, or in a request's head
    relaying,   // a call runs
    writing,    // the answer is whole and leaves
    lingering,  // all is said; the client may finish reading before the close
    closed,
  };
  // What of the request is still to come, as far as it may.
  enum class Inflow : std::uint8_t { none, counted, chunked, tunnel };
  // How the client learns where the answer's body ends.
  enum class Outflow : std::uint8_t { none, counted, chunked, by_close };

  // --- bytes in (web_connection.cc) ---
  void arm_read();
  bool wants_bytes() const;
  void on_readable();
  void on_end_of_input();
  void leave_tunnel();
  void process();
  void process_soon();
  std::size_t take(std::string_view bytes);
  bool relays_in() const { return state_ == State::relaying && call_ && inflow_ != Inflow::none; }

  // --- requests (web_request.cc) ---
  std::size_t take_head(std::string_view bytes);
  void on_head();
  std::string label() const;
  Result<> check_key(const WebEndpoint& endpoint);
  KeyId holder() const;
  void start_call(const WebEndpoint& endpoint);
  std::string client_address() const;
  std::string source() const;
  std::optional<CallFailure> too_fast(std::string_view label) const;
  std::size_t take_body(std::string_view bytes);
  std::size_t take_chunks(std::string_view bytes);
  void send_piece(std::string piece);
  void end_inflow();
  void on_room(std::size_t bytes) override;

  // --- answers (web_answer.cc) ---
  void on_piece(std::string bytes) override;
  void on_end() override;
  void on_failure(CallFailure failure) override;
  void on_answer_head(std::string_view text);
  void begin_answer(const AnswerHead& head);
  void choose_outflow(const AnswerHead& head);
  void on_body(std::string_view bytes);
  void put(std::string_view bytes);
  void grant();
  void respond(Response response);
  void respond_to(const CallFailure& failure);
  void refuse(int status, ErrorCode code, std::string message);
  void break_off();
  void let_go_of_call();
  void give_up_call();
  Framing framing() const;
  void finish();
  void flush();
  void flush_soon();
  void arm_write();
  void after_answer();
  void linger();

  struct Item {
    std::uint64_t end = 0;  // among the bytes of this connection's answers
    std::uint32_t bytes = 0;
  };

  const std::shared_ptr<WebEdge> edge_;
  boost::asio::ip::tcp::socket socket_;
  State state_ = State::head;
  Inflow inflow_ = Inflow::none;
  Outflow outflow_ = Outflow::none;
  bool keep_alive_ = true;
  bool reading_ = false;  // a wait for input is pending
  bool writing_ = false;  // a wait for room to write is pending
  bool flushing_soon_ = false;
  bool processing_ = false;  // process() is on the stack
  bool head_begun_ = false;  // bytes of the next request have come
  bool answered_ = false;    // the answer's head has come
  bool broken_ = false;      // the answer ends in its middle
  bool left_ = false;        // the client of a tunnel has left it

  RequestParser parser_;
  std::string input_;           // received and not consumed
  std::uint64_t in_left_ = 0;   // of a counted request
  std::uint64_t out_left_ = 0;  // of a counted answer
  std::int64_t room_ = 0;       // for pieces; the last one may have gone beyond
  CallId call_;
  KeyId caller_;  // of the call; zero: anybody
  Output output_;
  std::uint64_t put_bytes_ = 0;  // given to output_ so far
  std::deque<Item> items_;       // that have not wholly left; as many as the window has

  std::uint64_t since_tick_;      // of the state: its time limit counts from here
  std::uint64_t write_tick_ = 0;  // when bytes last left
};

}  // namespace ember
