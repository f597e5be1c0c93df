// Where clients come in: listens, keeps the list of connections within its limit, and has a look at
// each once a second. An edge is what its connections share; what it has to have is what is used
// here.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "gateway/response_head.h"

namespace ember {

// `flag` is the one that says where to listen.
Error listen_error(const std::string& address, std::uint16_t port, std::string_view flag,
                   const boost::system::error_code& error);

inline constexpr std::string_view kFullAnswer =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    "Content-Type: application/json\r\nContent-Length: 92\r\n\r\n"
    "{\"error\": {\"code\": \"unavailable\", \"message\": \"too many connections; try again in a "
    "second\"}}\n";

inline constexpr std::size_t kLooksPerTurn = 64;  // of the sweep of each second

// Shared with the handlers that are still in the loop when its owner stops it.
template <class Edge, class Connection>
class Listener : public std::enable_shared_from_this<Listener<Edge, Connection>> {
 public:
  Listener(boost::asio::io_context& loop, std::shared_ptr<Edge> edge)
      : edge_(std::move(edge)), acceptor_(loop), timer_(loop) {
    edge_->date_line = date_line(edge_->options.wall_clock());
  }

  Result<> listen() {
    const auto& options = edge_->options;
    boost::system::error_code error;
    const std::string name = options.address == "localhost" ? "127.0.0.1" : options.address;
    const auto address = boost::asio::ip::make_address(name, error);
    if (error) return listen_error(options.address, options.port, options.flag, error);
    const boost::asio::ip::tcp::endpoint endpoint(address, options.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(boost::asio::ip::tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(boost::asio::ip::tcp::acceptor::max_listen_connections, error);
    if (error) return listen_error(options.address, options.port, options.flag, error);
    port_ = acceptor_.local_endpoint(error).port();
    return Ok{};
  }

  void start() {
    accept();
    schedule_tick();
  }

  void stop() {
    stopped_ = true;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    timer_.cancel();
    while (!edge_->connections.empty()) {
      const auto connection = edge_->connections.back();
      connection->close();
    }
  }

  void tick() {
    ++edge_->tick;
    edge_->date_line = date_line(edge_->options.wall_clock());
    sweep(edge_->connections.size());
    if (accept_paused_) accept();
  }

  void begin_drain() {
    edge_->stats.draining = true;
    for_each_connection([](Connection& connection) { connection.drain(); });
  }

  std::size_t open() const { return edge_->connections.size(); }
  std::uint16_t port() const { return port_; }

 private:
  // From the back, a few in each turn of the loop, so that no call waits for all of thousands. What
  // closes between turns moves another into its place, which is looked at twice or at the next
  // sweep.
  void sweep(std::size_t left) {
    for (std::size_t looked = 0; looked < kLooksPerTurn; ++looked) {
      left = std::min(left, edge_->connections.size());
      if (left == 0) return;
      const auto connection = edge_->connections[--left];
      connection->tick();
    }
    boost::asio::post(timer_.get_executor(), [self = this->shared_from_this(), left] {
      if (!self->stopped_) self->sweep(left);
    });
  }

  // From the back: a connection that closes moves one already visited into its place.
  template <class Visit>
  void for_each_connection(Visit visit) {
    for (std::size_t i = edge_->connections.size(); i-- > 0;) {
      const auto connection = edge_->connections[i];
      visit(*connection);
    }
  }

  void schedule_tick() {
    timer_.expires_after(std::chrono::seconds(1));
    timer_.async_wait([self = this->shared_from_this()](boost::system::error_code error) {
      if (error || self->stopped_) return;
      self->tick();
      self->schedule_tick();
    });
  }

  void accept() {
    accept_paused_ = false;
    acceptor_.async_accept([self = this->shared_from_this()](boost::system::error_code error,
                                                             boost::asio::ip::tcp::socket socket) {
      if (self->stopped_) return;
      if (!error) {
        self->admit(std::move(socket));
      } else if (error != boost::asio::error::connection_aborted) {
        self->accept_paused_ = true;  // no descriptors left: the next tick tries again
        return;
      }
      self->accept();
    });
  }

  void admit(boost::asio::ip::tcp::socket socket) {
    auto& all = edge_->connections;
    if (all.size() >= edge_->options.limits.connections && !make_way()) {
      // A best effort: who is refused for load is not waited for.
      (void)::send(socket.native_handle(), kFullAnswer.data(), kFullAnswer.size(),
                   MSG_NOSIGNAL | MSG_DONTWAIT);
      return;
    }
    boost::system::error_code ignored;
    socket.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
    auto connection = std::make_shared<Connection>(edge_, std::move(socket));
    connection->index = all.size();
    all.push_back(connection);
    edge_->stats.connections = all.size();
    connection->start();
  }

  // Closes a connection that has been idle for a while; false if a look at some finds none.
  bool make_way() {
    constexpr std::size_t kLooks = 256;
    const auto& all = edge_->connections;
    for (std::size_t look = 0; look < kLooks && !all.empty(); ++look) {
      hand_ = (hand_ + 1) % all.size();
      const auto connection = all[hand_];
      if (!connection->may_make_way()) continue;
      connection->close();
      return true;
    }
    return false;
  }

  const std::shared_ptr<Edge> edge_;
  std::size_t hand_ = 0;  // goes round the connections when room is wanted
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer timer_;
  std::uint16_t port_ = 0;
  bool accept_paused_ = false;
  bool stopped_ = false;
};

}  // namespace ember
