// The origin of users' own apps, apart from the API's: listens, and passes requests on to the web
// endpoints that their Host names.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "control/control.h"
#include "gateway/options.h"

namespace ember {

class WebServer {
 public:
  // As Server's.
  static Result<std::unique_ptr<WebServer>> listen(boost::asio::io_context& loop, Control& control,
                                                   WebOptions options);
  ~WebServer();

  std::uint16_t port() const;
  void begin_drain();
  std::size_t open_connections() const;
  void tick();

 private:
  class Core;
  explicit WebServer(std::shared_ptr<Core> core);
  // Shared with the handlers that are still in the loop when the server goes.
  std::shared_ptr<Core> core_;
};

}  // namespace ember
