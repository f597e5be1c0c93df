// What makes a function, or a method of a class, a web endpoint, and the label that names it: the
// first part of its host name.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "control/json.h"
#include "control/web_service.h"

namespace ember {

struct WebSpec {
  std::string kind;   // "asgi", "wsgi", "fastapi" or "server": what the runner makes of it
  std::string label;  // empty: by the names of app and function
  WebAccess access = WebAccess::by_key;
};

// `value` is null where there is none.
Result<std::optional<WebSpec>> parse_web_spec(const JsonValue* value, const std::string& path);
JsonValue to_json(const WebSpec& web);

// Of the endpoint with this name, "CLASS.METHOD" for a method.
std::string label_of(const WebSpec& web, std::string_view app, std::string_view callable);

// Where endpoints are: their labels stand in front of the place.
struct WebOrigin {
  std::string scheme = "http";
  std::string place = "localhost";  // with its port, where it has one

  std::string url(std::string_view label) const;
};

}  // namespace ember
