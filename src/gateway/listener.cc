#include "gateway/listener.h"

#include <fmt/format.h>

namespace ember {

namespace asio = boost::asio;
using boost::system::error_code;

Error listen_error(const std::string& address, std::uint16_t port, std::string_view flag,
                   const error_code& error) {
  const std::string where = fmt::format("{}:{}", address, port);
  if (error == asio::error::address_in_use) {
    return {ErrorCode::conflict,
            fmt::format("port {} on {} is in use; stop the other server or choose another port "
                        "with {}",
                        port, address, flag)};
  }
  if (error == asio::error::access_denied) {
    return {ErrorCode::permission_denied,
            fmt::format("may not listen on {}; choose a port from 1024 up", where)};
  }
  return {ErrorCode::invalid_argument,
          fmt::format("cannot listen on {}: {}", where, error.message())};
}

}  // namespace ember
