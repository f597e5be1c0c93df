#include "gateway/web_server.h"

#include "base/assert.h"
#include "gateway/listener.h"
#include "gateway/web_connection.h"
#include "gateway/web_edge.h"

namespace ember {

class WebServer::Core final : public Listener<WebEdge, WebConnection> {
 public:
  using Listener::Listener;
};

WebServer::WebServer(std::shared_ptr<Core> core) : core_(std::move(core)) {}
WebServer::~WebServer() { core_->stop(); }

Result<std::unique_ptr<WebServer>> WebServer::listen(boost::asio::io_context& loop,
                                                     Control& control, WebOptions options) {
  EMBER_ASSERT(options.wall_clock != nullptr);
  auto edge = std::make_shared<WebEdge>(control, std::move(options));
  auto core = std::make_shared<Core>(loop, std::move(edge));
  if (auto listening = core->listen(); !listening) return std::move(listening).error();
  core->start();
  return std::unique_ptr<WebServer>(new WebServer(std::move(core)));
}

std::uint16_t WebServer::port() const { return core_->port(); }
void WebServer::begin_drain() { core_->begin_drain(); }
std::size_t WebServer::open_connections() const { return core_->open(); }
void WebServer::tick() { core_->tick(); }

}  // namespace ember
