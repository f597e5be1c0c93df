#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <charconv>

#include "base/assert.h"
#include "gateway/connection.h"

namespace ember {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

Framing Connection::framing() const {
  return {parser_.head().http11, keep_alive_ && !edge_->stats.draining};
}

void Connection::respond(Response response) {
  if (state_ == State::closed) return;
  EMBER_ASSERT(state_ == State::waiting);
  std::string& out = output_.text();
  append_status(out, response.status, framing(), edge_->date_line);
  out.append(response.headers);
  append_body_fields(out, response.content_type, response.body.size());
  if (parser_.head().method == Method::head) response.body.clear();
  finish(std::move(response.body));
}

// The answer is complete: out with it.
void Connection::finish(std::string body) {
  output_.append_body(std::move(body));
  keep_alive_ = keep_alive_ && !edge_->stats.draining;
  state_ = State::writing;
  write_tick_ = edge_->tick;
  flush();
}

void Connection::begin_stream(std::string_view content_type) { open_stream(content_type, {}); }

void Connection::open_stream(std::string_view content_type, std::string_view more_headers) {
  if (state_ == State::closed) return;
  EMBER_ASSERT(state_ == State::waiting);
  const RequestHead& head = parser_.head();
  const bool only_head = head.method == Method::head;
  chunked_stream_ = head.http11 && !only_head;
  if (!chunked_stream_) keep_alive_ = false;  // the close ends the body
  std::string& out = output_.text();
  append_status(out, 200, framing(), edge_->date_line);
  out.append("Content-Type: ").append(content_type).append("\r\n").append(more_headers);
  out.append(chunked_stream_ ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
  state_ = only_head ? State::writing : State::streaming;
  since_tick_ = write_tick_ = edge_->tick;
  flush_soon();
}

void Connection::write_stream(std::string_view piece) {
  if (state_ != State::streaming || piece.empty()) return;
  if (output_.empty()) write_tick_ = edge_->tick;
  since_tick_ = edge_->tick;
  std::string& out = output_.text();
  if (!chunked_stream_) {
    out.append(piece);
  } else {
    char size[16];
    const auto end = std::to_chars(size, size + sizeof size, piece.size(), 16).ptr;
    out.append(size, end).append("\r\n").append(piece).append("\r\n");
  }
  flush_soon();
}

void Connection::end_stream() {
  if (state_ != State::streaming) return;
  if (chunked_stream_) output_.text().append("0\r\n\r\n");
  keep_alive_ = keep_alive_ && !edge_->stats.draining;
  state_ = State::writing;
  flush_soon();
}

std::size_t Connection::stream_limit_bytes() const {
  return edge_->options.limits.stream_queue_bytes;
}

// Pieces of one turn of the loop leave together. Also: a failed write then closes the connection
// from the loop, and not from within whoever wrote a line.
void Connection::flush_soon() {
  if (flushing_soon_) return;
  flushing_soon_ = true;
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->flushing_soon_ = false;
    if (self->state_ != State::closed) self->flush();
  });
}

void Connection::flush() {
  if (writing_) return;  // the socket is full; its turn comes
  std::size_t left = 0;
  const auto sent = output_.send(socket_.native_handle(), left);
  if (left > 0) write_tick_ = edge_->tick;
  if (items_) grant_items();
  if (sent == Output::Sent::failed) return close_soon();
  if (sent == Output::Sent::some) return arm_write();
  if (state_ == State::writing) return after_answer();
  if (items_) tell_progress();
}

void Connection::arm_write() {
  writing_ = true;
  socket_.async_wait(tcp::socket::wait_write,
                     [self = shared_from_this()](boost::system::error_code error) {
                       self->writing_ = false;
                       if (self->state_ == State::closed) return;
                       if (error) return self->close();
                       self->flush();
                     });
}

void Connection::after_answer() {
  held_.reset();
  session_.reset();
  items_.reset();
  progress_.clear();
  since_tick_ = edge_->tick;
  if (!keep_alive_) return linger();
  state_ = State::head;
  head_begun_ = false;
  parser_.reset();
  if (processing_) return;
  if (input_.empty()) return arm_read();
  // Control may have called us: let it finish before it is called again.
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->state_ == State::head) self->resume();
  });
}

// Closing at once with input unread would reset the connection under an answer on its way.
void Connection::linger() {
  state_ = State::lingering;
  input_ = {};
  boost::system::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  arm_read();
}

void Connection::close_soon() {
  output_.clear();
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->close(); });
}

}  // namespace ember
