#include "gateway/web_connection.h"

#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <cerrno>

#include "base/assert.h"

namespace ember {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

constexpr std::size_t kPieceBytes = 64u << 10;     // of a frame to a runner
constexpr std::size_t kAheadBytes = 16u << 10;     // taken in while an answer is owed
constexpr std::size_t kKeptInputBytes = 4u << 10;  // memory kept between requests

}  // namespace

WebConnection::WebConnection(std::shared_ptr<WebEdge> edge, tcp::socket socket)
    : edge_(std::move(edge)),
      socket_(std::move(socket)),
      parser_(edge_->options.limits.web_head_bytes, HeadKept::all),
      since_tick_(edge_->tick) {}

WebConnection::~WebConnection() { EMBER_ASSERT(state_ == State::closed); }

void WebConnection::start() { arm_read(); }

bool WebConnection::wants_bytes() const {
  switch (state_) {
    case State::head:
    case State::lingering:
      return true;
    case State::relaying:
      return inflow_ == Inflow::none ? input_.size() < kAheadBytes : room_ > 0 && !left_;
    case State::writing:
      return keep_alive_ && input_.size() < kAheadBytes;
    case State::closed:
      return false;
  }
  return false;
}

void WebConnection::arm_read() {
  if (reading_ || !wants_bytes()) return;
  reading_ = true;
  socket_.async_wait(tcp::socket::wait_read,
                     [self = shared_from_this()](boost::system::error_code error) {
                       self->reading_ = false;
                       if (self->state_ == State::closed) return;
                       if (error) return self->close();
                       if (self->wants_bytes()) self->on_readable();
                     });
}

void WebConnection::on_readable() {
  auto& scratch = edge_->scratch;
  const ssize_t count =
      ::recv(socket_.native_handle(), scratch.data(), scratch.size(), MSG_DONTWAIT);
  if (count == 0) return on_end_of_input();
  if (count < 0 && errno != EAGAIN && errno != EINTR) return close();
  if (count > 0 && state_ != State::lingering) {
    input_.append(scratch.data(), static_cast<std::size_t>(count));
    ::explicit_bzero(scratch.data(), static_cast<std::size_t>(count));  // it may hold a key
    process();
  }
  arm_read();
}

// Serves what has been received, as far as it goes.
void WebConnection::process() {
  if (processing_) return;
  processing_ = true;
  std::size_t used = 0;
  while (used < input_.size()) {
    const std::size_t taken = take(std::string_view(input_).substr(used));
    used += taken;
    if (taken == 0) break;
  }
  processing_ = false;
  if (state_ == State::closed) return;
  input_.erase(0, state_ == State::lingering ? input_.size() : used);
  if (input_.empty() && input_.capacity() > kKeptInputBytes) input_ = {};
}

std::size_t WebConnection::take(std::string_view bytes) {
  if (state_ == State::head) return take_head(bytes);
  return relays_in() && room_ > 0 ? take_body(bytes.substr(0, kPieceBytes)) : 0;
}

// Control may have called us: let it finish before it is called again.
void WebConnection::process_soon() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->state_ == State::closed) return;
    self->process();
    self->arm_read();
  });
}

// A client that leaves wants no answer. The app in a conversation is told, and may say its last.
void WebConnection::on_end_of_input() {
  if (state_ == State::writing) {
    keep_alive_ = false;
    return;
  }
  if (state_ != State::relaying || inflow_ != Inflow::tunnel) return close();
  leave_tunnel();
}

void WebConnection::leave_tunnel() {
  left_ = true;
  since_tick_ = edge_->tick;
  edge_->web.end(call_);
}

void WebConnection::tick() {
  const ServerLimits& limits = edge_->options.limits;
  const std::uint64_t elapsed = edge_->tick - since_tick_;
  const bool stalled = !output_.empty() && edge_->tick - write_tick_ > limits.write_stall_seconds;
  switch (state_) {
    case State::head:
      if (!head_begun_) {
        if (elapsed > limits.idle_seconds) close();
      } else if (elapsed > limits.head_seconds) {
        keep_alive_ = false;
        refuse(408, ErrorCode::timed_out, "the request's header fields took too long to arrive");
      }
      return;
    case State::relaying:
      if (left_ && elapsed > limits.tunnel_leave_seconds) return close();
      // Whoever reads an answer slowly holds no more than its window: the function's timeout ends
      // that.
      if (relays_in() && inflow_ != Inflow::tunnel && room_ > 0 &&
          elapsed > limits.body_stall_seconds) {
        close();
      }
      return;
    case State::writing:
      if (stalled) close();
      return;
    case State::lingering:
      if (elapsed > limits.linger_seconds) close();
      return;
    case State::closed:
      return;
  }
}

bool WebConnection::may_make_way() const {
  return state_ == State::head &&
         edge_->tick - since_tick_ >= edge_->options.limits.make_way_seconds;
}

// A conversation may last for hours: its app is told as if its client left.
void WebConnection::drain() {
  if (state_ == State::head && !head_begun_) return close();
  if (state_ == State::relaying && inflow_ == Inflow::tunnel && !left_) leave_tunnel();
}

void WebConnection::close() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  give_up_call();
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
