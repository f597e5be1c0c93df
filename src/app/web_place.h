// Where web endpoints are, by the flags of `emberd serve`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "app/listen_address.h"
#include "base/result.h"

namespace ember {

struct WebPlace {
  std::string scheme = "http";
  std::string name;  // beside localhost; "": none
  std::string port;  // ":443", ""; as clients have to say it

  // What stands behind an endpoint's label in its URL.
  std::string after_label() const { return (name.empty() ? "localhost" : name) + port; }
};

// `domain` is [SCHEME://]NAME[:PORT]. With a scheme a proxy stands in front, whose port is the one
// that it names or the scheme's own; else it is the one that is listened on.
Result<WebPlace> web_place(std::string_view domain, std::uint16_t port);

// The next port of the same address, where the flag names none; 0 after 0.
Result<ListenAddress> web_address(std::string_view flag, const ListenAddress& api);

}  // namespace ember
