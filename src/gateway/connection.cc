#include "gateway/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "gateway/error_response.h"

namespace ember {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

constexpr std::size_t kAheadBytes = 16u << 10;     // taken in while an answer is owed
constexpr std::size_t kKeptInputBytes = 4u << 10;  // memory kept between requests
// A body grows by this much at a time: its next piece is zeroed just before the kernel fills it,
// while it is still in the cache.
constexpr std::size_t kBodyStepBytes = 256u << 10;
constexpr int kBodyStepsPerTurn = 8;  // then others have theirs

ssize_t receive(int socket, char* buffer, std::size_t size) {
  for (;;) {
    const ssize_t count = ::recv(socket, buffer, size, MSG_DONTWAIT);
    if (count >= 0 || errno != EINTR) return count;
  }
}

}  // namespace

Connection::Connection(std::shared_ptr<Edge> edge, tcp::socket socket)
    : edge_(std::move(edge)),
      socket_(std::move(socket)),
      parser_(edge_->options.limits.head_bytes),
      since_tick_(edge_->tick) {}

Connection::~Connection() { EMBER_ASSERT(state_ == State::closed); }

void Connection::start() { arm_read(); }

bool Connection::wants_bytes() const {
  switch (state_) {
    case State::head:
    case State::body:
    case State::messages:
    case State::lingering:
      return true;
    case State::waiting:
    case State::streaming:
      return input_.size() < kAheadBytes;
    case State::writing:
      return keep_alive_ && input_.size() < kAheadBytes;
    case State::closed:
      return false;
  }
  return false;
}

void Connection::arm_read() {
  if (reading_ || !wants_bytes()) return;
  reading_ = true;
  socket_.async_wait(tcp::socket::wait_read,
                     [self = shared_from_this()](boost::system::error_code error) {
                       self->reading_ = false;
                       if (self->state_ == State::closed) return;
                       if (error) return self->close();
                       self->on_readable();
                     });
}

void Connection::on_readable() {
  if (state_ == State::lingering) return discard();
  if (state_ == State::body && !parser_.head().chunked && input_.empty()) return read_body();
  const ssize_t count =
      receive(socket_.native_handle(), edge_->scratch.data(), edge_->scratch.size());
  if (count == 0) return on_end_of_input();
  if (count < 0 && errno != EAGAIN) return close();
  silent_ = false;
  if (count > 0) {
    const auto size = static_cast<std::size_t>(count);
    on_bytes({edge_->scratch.data(), size});
    ::explicit_bzero(edge_->scratch.data(), size);  // there may have been a secret in it
  }
  arm_read();
}

void Connection::on_bytes(std::string_view bytes) {
  if (state_ == State::messages && input_.empty()) return take_messages(bytes);
  if (!input_.empty() || (state_ != State::head && state_ != State::body)) {
    input_.append(bytes);
    if (state_ == State::head || state_ == State::body) resume();
    return;
  }
  const std::size_t used = process(bytes);
  if (state_ != State::closed) input_.assign(bytes.substr(used));
}

// Serves what was received ahead.
void Connection::resume() {
  const std::size_t used = process(input_);
  if (state_ == State::closed) return;
  input_.erase(0, used);
  if (input_.empty() && input_.capacity() > kKeptInputBytes) input_ = {};
  arm_read();
}

std::size_t Connection::process(std::string_view bytes) {
  std::size_t used = 0;
  processing_ = true;
  while (used < bytes.size() && (state_ == State::head || state_ == State::body)) {
    const std::string_view rest = bytes.substr(used);
    const std::size_t taken = state_ == State::head ? take_head(rest) : take_body(rest);
    used += taken;
    if (taken == 0) break;
  }
  processing_ = false;
  // What a refused client still sends is nobody's.
  return state_ == State::lingering ? bytes.size() : used;
}

void Connection::read_body() {
  const std::size_t whole = parser_.head().content_length;
  const std::size_t before = body_.size();
  for (int step = 0; step < kBodyStepsPerTurn && body_.size() < whole; ++step) {
    const std::size_t have = body_.size();
    const std::size_t wanted = std::min(whole - have, kBodyStepBytes);
    body_.resize(have + wanted);
    const ssize_t count = receive(socket_.native_handle(), body_.data() + have, wanted);
    body_.resize(have + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count == 0) return on_end_of_input();
    if (count < 0 && errno != EAGAIN) return close();
    if (count < static_cast<ssize_t>(wanted)) break;
  }
  if (!charge_body(body_.size() - before)) return;
  if (body_.size() == whole) {
    processing_ = true;
    dispatch();
    processing_ = false;
  }
  arm_read();
}

void Connection::discard() {
  const ssize_t count =
      receive(socket_.native_handle(), edge_->scratch.data(), edge_->scratch.size());
  if (count == 0 || (count < 0 && errno != EAGAIN)) return close();
  arm_read();
}

void Connection::on_end_of_input() {
  if (state_ != State::writing) return close();
  keep_alive_ = false;  // the answer still goes out; nothing more is read
}

void Connection::tick() {
  const ServerLimits& limits = edge_->options.limits;
  const std::uint64_t elapsed = edge_->tick - since_tick_;
  // Whoever reads a stream of items slowly holds no more than its window: the function's timeout
  // ends that.
  const bool may_stall = items_ && call_;
  const bool stalled = !output_.empty() && edge_->tick - write_tick_ > limits.write_stall_seconds;
  if (stalled && !may_stall) return close();
  switch (state_) {
    case State::head:
      if (!head_begun_) {
        if (elapsed > (silent_ ? limits.head_seconds : limits.idle_seconds)) close();
      } else if (elapsed > limits.head_seconds) {
        refuse_and_close(error_response(
            408, {ErrorCode::timed_out, "the request's header fields took too long to arrive"}));
      }
      return;
    case State::body:
      if (body_too_slow()) {
        refuse_and_close(
            error_response(408, {ErrorCode::timed_out, "the request's body arrives too slowly"}));
      }
      return;
    case State::streaming:
      // A stream goes on for as long as its key is good.
      if (!key_is_good()) return close();
      if (items_) return tick_items();
      if (output_.empty() && elapsed >= limits.stream_blank_seconds) write_stream("\n");
      return;
    case State::messages:
      return tick_messages();
    case State::lingering:
      if (elapsed > limits.linger_seconds) close();
      return;
    case State::waiting:
    case State::writing:
    case State::closed:
      return;
  }
}

bool Connection::may_make_way() const {
  return state_ == State::head &&
         edge_->tick - since_tick_ >= edge_->options.limits.make_way_seconds;
}

bool Connection::body_too_slow() const {
  const ServerLimits& limits = edge_->options.limits;
  const std::uint64_t elapsed = edge_->tick - since_tick_;
  if (elapsed <= limits.body_grace_seconds) return false;
  return body_.size() < (elapsed - limits.body_grace_seconds) * limits.body_bytes_per_second;
}

void Connection::drain() {
  if (!busy()) close();
}

void Connection::close() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  if (call_) {
    const CallId call = call_;
    let_go_of_call();
    edge_->control.abandon_call(call);
  }
  held_.reset();
  session_.reset();
  uncharge_body();
  boost::system::error_code ignored;
  socket_.close(ignored);
  // Out of the list by moving the last one into the gap; whoever calls holds a reference.
  auto& all = edge_->connections;
  const auto self = std::move(all[index]);
  if (index + 1 < all.size()) {
    all[index] = std::move(all.back());
    all[index]->index = index;
  }
  all.pop_back();
  edge_->stats.connections = all.size();
}

}  // namespace ember
