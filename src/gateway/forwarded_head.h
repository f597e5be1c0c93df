// A request's head as an app in a container gets it: HTTP/1.1, without what was this connection's
// alone, and with who sent it.
#pragma once

#include <string>
#include <string_view>

#include "gateway/http.h"

namespace ember {

// Whether the request's Authorization is the app's to see: not where it is a key of ours.
enum class Authorization : std::uint8_t { passed_on, kept_back };

// `client` is the address that the request came from. Content-Length or Transfer-Encoding is there
// where a body may follow; a request that asks to go on in WebSocket frames says so.
std::string forwarded_head(const RequestHead& head, std::string_view client,
                           Authorization authorization);

}  // namespace ember
