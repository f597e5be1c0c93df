// HOST:PORT, as people write it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ember {

struct ListenAddress {
  std::string host;
  std::uint16_t port = 0;

  // For clients of this machine: an address that means "all" is reached over loopback.
  std::string url(std::uint16_t actual_port) const;
};

// "127.0.0.1:7777", "[::1]:0", "0.0.0.0:80". The host must be an IP address.
Result<ListenAddress> parse_listen_address(std::string_view text);

}  // namespace ember
