#include "app/web_place.h"

#include <algorithm>

namespace ember {
namespace {

bool is_in_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

bool is_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

Result<WebPlace> web_place(std::string_view domain, std::uint16_t port) {
  WebPlace place;
  place.port = ":" + std::to_string(port);
  if (domain.empty()) return place;
  std::string_view name = domain;
  if (const std::size_t end = name.find("://"); end != name.npos) {
    place.scheme = name.substr(0, end);
    place.port.clear();
    name.remove_prefix(end + 3);
  }
  if (const std::size_t colon = name.find(':'); colon != name.npos) {
    place.port = name.substr(colon);
    name = name.substr(0, colon);
  }
  place.name = name;
  const bool named = !name.empty() && std::ranges::all_of(name, is_in_name) &&
                     !name.starts_with('.') && !name.ends_with('.');
  const bool known = place.scheme == "http" || place.scheme == "https";
  const bool reached = place.port.empty() || is_port(std::string_view(place.port).substr(1));
  if (named && known && reached) return place;
  return Error{ErrorCode::invalid_argument,
               "\"" + std::string(domain) +
                   "\" is no domain for web endpoints; use NAME, or https://NAME[:PORT] behind a "
                   "proxy, for example apps.example.com"};
}

Result<ListenAddress> web_address(std::string_view flag, const ListenAddress& api) {
  if (!flag.empty()) return parse_listen_address(flag);
  const bool is_last = api.port == 0 || api.port == UINT16_MAX;
  return ListenAddress{api.host, static_cast<std::uint16_t>(is_last ? 0 : api.port + 1)};
}

}  // namespace ember
