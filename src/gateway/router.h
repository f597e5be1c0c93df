// Which handler answers which path.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/api.h"
#include "gateway/http.h"

namespace ember {

struct Route {
  Method method;
  std::string_view pattern;  // "/api/v1/apps/{app}": a segment in braces matches any one
  std::size_t body_limit_bytes;
  bool needs_key;
  Handler handler;  // null: a call, which the connection makes itself
};

// Every route of docs/reference/http.md. `body_bytes` is the limit for those that take user data.
std::vector<Route> make_routes(std::size_t body_bytes);

struct Match {
  const Route* route = nullptr;  // null: no such path, or `allowed` is not empty
  std::string allowed;           // methods of the path, for Allow, where this one is not among them
};

// HEAD is answered by GET's route. Fills `parameters` with the decoded segments in braces.
Match find_route(std::span<const Route> routes, Method method, std::string_view path,
                 std::vector<std::string>& parameters);

}  // namespace ember
