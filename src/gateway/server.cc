#include "gateway/server.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <optional>

#include "base/assert.h"
#include "gateway/connection.h"
#include "gateway/edge.h"

namespace ember {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using boost::system::error_code;

constexpr std::string_view kFull =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    "Content-Type: application/json\r\nContent-Length: 92\r\n\r\n"
    "{\"error\": {\"code\": \"unavailable\", \"message\": \"too many connections; try again in a "
    "second\"}}\n";

constexpr std::size_t kLooksPerTurn = 64;  // of the sweep of each second

Error listen_error(const ServerOptions& options, const error_code& error) {
  const std::string where = fmt::format("{}:{}", options.address, options.port);
  if (error == asio::error::address_in_use) {
    return {ErrorCode::conflict,
            fmt::format("port {} on {} is in use; stop the other server or choose another port "
                        "with --listen",
                        options.port, options.address)};
  }
  if (error == asio::error::access_denied) {
    return {ErrorCode::permission_denied,
            fmt::format("may not listen on {}; choose a port from 1024 up", where)};
  }
  return {ErrorCode::invalid_argument,
          fmt::format("cannot listen on {}: {}", where, error.message())};
}

}  // namespace

class Server::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(asio::io_context& loop, Control& control, ServerOptions options)
      : edge_(std::make_shared<Edge>(control, std::move(options))), acceptor_(loop), timer_(loop) {
    edge_->date_line = date_line(edge_->options.wall_clock());
  }

  Result<> listen() {
    const ServerOptions& options = edge_->options;
    error_code error;
    const std::string name = options.address == "localhost" ? "127.0.0.1" : options.address;
    const auto address = asio::ip::make_address(name, error);
    if (error) return listen_error(options, error);
    const tcp::endpoint endpoint(address, options.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
    if (error) return listen_error(options, error);
    port_ = acceptor_.local_endpoint(error).port();
    return Ok{};
  }

  void start() {
    accept();
    schedule_tick();
  }

  void stop() {
    stopped_ = true;
    error_code ignored;
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
    asio::post(timer_.get_executor(), [self = shared_from_this(), left] {
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
    timer_.async_wait([self = shared_from_this()](error_code error) {
      if (error || self->stopped_) return;
      self->tick();
      self->schedule_tick();
    });
  }

  void accept() {
    accept_paused_ = false;
    acceptor_.async_accept([self = shared_from_this()](error_code error, tcp::socket socket) {
      if (self->stopped_) return;
      if (!error) {
        self->admit(std::move(socket));
      } else if (error != asio::error::connection_aborted) {
        self->accept_paused_ = true;  // no descriptors left: the next tick tries again
        return;
      }
      self->accept();
    });
  }

  void admit(tcp::socket socket) {
    auto& all = edge_->connections;
    if (all.size() >= edge_->options.limits.connections && !make_way()) {
      // A best effort: who is refused for load is not waited for.
      (void)::send(socket.native_handle(), kFull.data(), kFull.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      return;
    }
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
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
  tcp::acceptor acceptor_;
  asio::steady_timer timer_;
  std::uint16_t port_ = 0;
  bool accept_paused_ = false;
  bool stopped_ = false;
};

Server::Server(std::shared_ptr<Core> core) : core_(std::move(core)) {}
Server::~Server() { core_->stop(); }

Result<std::unique_ptr<Server>> Server::listen(asio::io_context& loop, Control& control,
                                               ServerOptions options) {
  EMBER_ASSERT(options.wall_clock != nullptr);
  auto core = std::make_shared<Core>(loop, control, std::move(options));
  if (auto listening = core->listen(); !listening) return std::move(listening).error();
  core->start();
  return std::unique_ptr<Server>(new Server(std::move(core)));
}

std::uint16_t Server::port() const { return core_->port(); }
void Server::begin_drain() { core_->begin_drain(); }
std::size_t Server::open_connections() const { return core_->open(); }
void Server::tick() { core_->tick(); }

}  // namespace ember
