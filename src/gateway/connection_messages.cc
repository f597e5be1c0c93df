// A connection that has left HTTP for WebSocket messages.
#include <boost/asio/post.hpp>

#include "base/assert.h"
#include "gateway/connection.h"

namespace ember {
namespace {

// One that is sent this much and does not take it reads nothing: a session holds to a window.
constexpr std::size_t kMostUntakenBytes = 1u << 20;

}  // namespace

MessageClient* Connection::message_client() {
  const RequestHead& head = parser_.head();
  return head.method == Method::get && !head.websocket_key.empty() ? this : nullptr;
}

void Connection::begin_messages(std::unique_ptr<MessageSession> session) {
  EMBER_ASSERT(state_ == State::waiting);
  std::string& out = output_.text();
  out.append("HTTP/1.1 101 Switching Protocols\r\n").append(edge_->date_line);
  out.append("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
  out.append(websocket_accept(parser_.head().websocket_key)).append("\r\n\r\n");
  session_ = std::move(session);
  websocket_ = {};
  state_ = State::messages;
  keep_alive_ = false;
  since_tick_ = heard_tick_ = write_tick_ = edge_->tick;
  flush_soon();
  // What the client sent ahead.
  boost::asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->state_ == State::messages) self->take_messages(std::exchange(self->input_, {}));
  });
}

void Connection::take_messages(std::string_view bytes) {
  heard_tick_ = edge_->tick;
  const auto goes_on = [this] { return state_ == State::messages; };
  if (!websocket_.feed(bytes, *this, goes_on)) leave_messages(websocket_.failure());
}

void Connection::on_text_message(std::string_view text) { session_->on_text(text); }
void Connection::on_bytes_piece(std::string_view bytes) { session_->on_bytes(bytes); }
void Connection::on_ping(std::string_view payload) { send_frame(WebSocketKind::pong, payload); }
void Connection::on_close() { leave_messages(WebSocketClose::done); }

void Connection::send_text(std::string_view text) { send_frame(WebSocketKind::text, text); }
void Connection::send_bytes(std::string_view bytes) { send_frame(WebSocketKind::bytes, bytes); }
void Connection::end_messages() { leave_messages(WebSocketClose::done); }

void Connection::send_frame(WebSocketKind kind, std::string_view payload) {
  if (state_ != State::messages) return;
  if (output_.empty()) write_tick_ = edge_->tick;
  append_frame(output_.text(), kind, payload);
  if (output_.size() > kMostUntakenBytes) return close_soon();
  flush_soon();
}

// The session goes with what is left to be sent: not before whoever called has returned.
void Connection::leave_messages(WebSocketClose code) {
  if (state_ != State::messages) return;
  append_close(output_.text(), code);
  state_ = State::writing;
  flush_soon();
}

// Nothing that lives is silent: a client answers pings.
void Connection::tick_messages() {
  const ServerLimits& limits = edge_->options.limits;
  if (!key_is_good() || edge_->tick - heard_tick_ > limits.message_silence_seconds) return close();
  if (edge_->tick - since_tick_ < limits.message_ping_seconds) return;
  since_tick_ = edge_->tick;
  send_frame(WebSocketKind::ping, {});
}

}  // namespace ember
