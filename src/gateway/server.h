// The HTTP edge: listens, and serves Control to whoever brings a key.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "control/control.h"
#include "gateway/options.h"

namespace ember {

class Server {
 public:
  // Listens at once. `loop` and `control` are borrowed and outlive the server; all of it runs on
  // the loop's one thread.
  static Result<std::unique_ptr<Server>> listen(boost::asio::io_context& loop, Control& control,
                                                ServerOptions options);
  // Closes every connection; calls that still run for them are abandoned.
  ~Server();

  std::uint16_t port() const;
  // From now on /healthz says 503, every answer closes its connection, and idle ones are closed.
  void begin_drain();
  std::size_t open_connections() const;
  // Enforces time limits; its own timer calls it once a second.
  void tick();

 private:
  class Core;
  explicit Server(std::shared_ptr<Core> core);
  // Shared with the handlers that are still in the loop when the server goes.
  std::shared_ptr<Core> core_;
};

}  // namespace ember
