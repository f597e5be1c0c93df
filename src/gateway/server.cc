#include "gateway/server.h"

#include "base/assert.h"
#include "gateway/connection.h"
#include "gateway/edge.h"
#include "gateway/listener.h"

namespace ember {

class Server::Core final : public Listener<Edge, Connection> {
 public:
  using Listener::Listener;
};

Server::Server(std::shared_ptr<Core> core) : core_(std::move(core)) {}
Server::~Server() { core_->stop(); }

Result<std::unique_ptr<Server>> Server::listen(boost::asio::io_context& loop, Control& control,
                                               ServerOptions options) {
  EMBER_ASSERT(options.wall_clock != nullptr);
  auto edge = std::make_shared<Edge>(control, std::move(options));
  auto core = std::make_shared<Core>(loop, std::move(edge));
  if (auto listening = core->listen(); !listening) return std::move(listening).error();
  core->start();
  return std::unique_ptr<Server>(new Server(std::move(core)));
}

std::uint16_t Server::port() const { return core_->port(); }
void Server::begin_drain() { core_->begin_drain(); }
std::size_t Server::open_connections() const { return core_->open(); }
void Server::tick() { core_->tick(); }

}  // namespace ember
