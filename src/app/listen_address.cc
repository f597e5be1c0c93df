#include "app/listen_address.h"

#include <boost/asio/ip/address.hpp>
#include <charconv>

namespace ember {

std::string ListenAddress::url(std::uint16_t actual_port) const {
  const auto address = boost::asio::ip::make_address(host);
  std::string shown = address.is_unspecified() ? "127.0.0.1" : host;
  if (shown.find(':') != std::string::npos) shown = "[" + shown + "]";
  return "http://" + shown + ":" + std::to_string(actual_port);
}

Result<ListenAddress> parse_listen_address(std::string_view text) {
  const Error wrong{ErrorCode::invalid_argument, "\"" + std::string(text) +
                                                     "\" is not an address to listen on; use "
                                                     "IP:PORT, for example 127.0.0.1:7777"};
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const std::string_view digits = text.substr(colon + 1);
  ListenAddress address{std::string(host), 0};
  const auto [end, failed] =
      std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  boost::system::error_code bad_host;
  boost::asio::ip::make_address(address.host, bad_host);
  if (failed != std::errc{} || end != digits.data() + digits.size() || bad_host) return wrong;
  return address;
}

}  // namespace ember
