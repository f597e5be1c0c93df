// One client: bytes in, requests out, answers back.
//
// Requests of a connection are served strictly one after the other. What a client sends ahead stays
// in a small buffer, and beyond that in its socket. The socket is watched all the while, so that a
// client that hangs up cancels its call. There is no timer: the server calls tick() once a second.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/control.h"
#include "gateway/edge.h"
#include "gateway/exchange.h"
#include "gateway/item_stream.h"
#include "gateway/output.h"
#include "gateway/request_parser.h"
#include "gateway/response_head.h"
#include "gateway/websocket.h"

namespace ember {

class Connection final : public Exchange,
                         private CallWaiter,
                         private MessageClient,
                         private WebSocketEvents,
                         public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Edge> edge, boost::asio::ip::tcp::socket socket);
  ~Connection() override;

  void start();
  // Enforces every time limit. May close the connection.
  void tick();
  // Ends it now; a running call is abandoned.
  void close();
  // Closes it if it has no request; else it closes after its answer, as the edge is draining.
  void drain();

  bool busy() const { return state_ != State::head || head_begun_; }
  // Whether it may be closed for the sake of a new one when there is no room: it has been without a
  // whole request for a while.
  bool may_make_way() const;
  std::size_t index = 0;  // in Edge::connections; kept by whoever changes that list

 private:
  enum class State : std::uint8_t {
    head,       // between requests, or in a request's head
    body,       // receiving a body
    waiting,    // a handler or a call owes the answer
    streaming,  // the answer is being made piece by piece
    messages,   // it has left HTTP, and client and session speak as they like
    writing,    // the answer is made and leaves
    lingering,  // all is said; the client may finish reading before the close
    closed,
  };

  // --- bytes in (connection.cc) ---
  void arm_read();
  bool wants_bytes() const;
  void on_readable();
  void on_bytes(std::string_view bytes);
  void on_end_of_input();
  void read_body();
  void discard();
  std::size_t process(std::string_view bytes);
  void resume();

  // --- requests (connection_request.cc) ---
  std::size_t take_head(std::string_view bytes);
  std::size_t take_body(std::string_view bytes);
  std::size_t take_chunks(std::string_view bytes);
  void on_head();
  std::optional<Response> check_head();
  std::optional<Response> check_key();
  std::optional<Response> check_route();
  void begin_body();
  bool charge_body(std::size_t bytes);
  void uncharge_body();
  void dispatch();
  void make_call();
  void spawn_call(Body arguments);
  void let_go_of_call();
  void refuse(Response response);
  void refuse_and_close(Response response);
  // --- items (connection_items.cc) ---
  void open_items();
  void write_items(std::string_view text);
  void tell_status(const CallStatus& status);
  void tell_running();
  void tick_items();
  // Whether the client asked to be told how its call goes until the answer comes.
  bool tells_how_it_goes() const;
  void tell_progress();
  void grant_items();
  void end_items(std::string_view text);
  void on_item(Body item) override;
  void on_progress(std::string_view progress) override;
  void on_result(Body value, const CallReport& report) override;
  void on_failure(CallFailure failure, const CallReport& report) override;

  CallWants wants() const;

  // --- answers (connection_answer.cc) ---
  void respond(Response response) override;
  void begin_stream(std::string_view content_type) override;
  void open_stream(std::string_view content_type, std::string_view more_headers);
  void write_stream(std::string_view piece) override;
  void end_stream() override;
  std::size_t stream_backlog_bytes() const override { return output_.size(); }
  std::size_t stream_limit_bytes() const override;
  void hold(std::shared_ptr<void> thing) override { held_ = std::move(thing); }
  // --- messages (connection_messages.cc) ---
  MessageClient* message_client() override;
  void begin_messages(std::unique_ptr<MessageSession> session) override;
  void take_messages(std::string_view bytes);
  void tick_messages();
  void on_text_message(std::string_view text) override;
  void on_bytes_piece(std::string_view bytes) override;
  void on_ping(std::string_view payload) override;
  void on_close() override;
  void send_text(std::string_view text) override;
  void send_bytes(std::string_view bytes) override;
  void end_messages() override;
  void send_frame(WebSocketKind kind, std::string_view payload);
  void leave_messages(WebSocketClose code);
  Framing framing() const;
  void finish(std::string body);
  void flush();
  void flush_soon();
  void arm_write();
  void after_answer();
  void linger();
  void close_soon();
  bool body_too_slow() const;
  bool key_is_good();

  const std::shared_ptr<Edge> edge_;
  boost::asio::ip::tcp::socket socket_;
  State state_ = State::head;
  bool keep_alive_ = true;   // after the current answer
  bool reading_ = false;     // a wait for input is pending
  bool writing_ = false;     // a wait for room to write is pending
  bool processing_ = false;  // process() is on the stack
  bool flushing_soon_ = false;
  bool silent_ = true;       // nothing was ever received
  bool head_begun_ = false;  // bytes of the next request have come
  bool chunked_stream_ = false;

  RequestParser parser_;
  std::string input_;  // received and not consumed
  std::string body_;
  std::size_t body_limit_bytes_ = 0;
  std::size_t charged_bytes_ = 0;  // of Edge::body_bytes
  const Route* route_ = nullptr;
  std::vector<std::string> parameters_;
  std::optional<Response> refusal_;  // the answer, once a small unwanted body is read
  CallId call_;                      // running for this client
  std::size_t call_bytes_ = 0;       // of its arguments, held meanwhile
  std::optional<ItemStream> items_;  // of the call, once the answer's head has left
  std::uint64_t stream_bytes_ = 0;   // of that answer, given to output_
  CallStatus told_;                  // the last status event
  std::string progress_;             // to be told once what is before it has left
  std::shared_ptr<void> held_;
  std::unique_ptr<MessageSession> session_;  // once it has left HTTP
  WebSocketReader websocket_;

  Output output_;

  // The key that was good at this tick and change of keys; spares hashing it again for each
  // request.
  std::string key_;
  KeyId key_id_;
  std::uint64_t key_tick_ = 0;
  std::uint64_t key_changes_ = 0;

  std::uint64_t since_tick_;      // of the state: its time limit counts from here
  std::uint64_t write_tick_ = 0;  // when bytes last left
  std::uint64_t heard_tick_ = 0;  // when bytes of messages last came
};

}  // namespace ember
