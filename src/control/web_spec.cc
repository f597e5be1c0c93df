#include "control/web_spec.h"

#include <algorithm>

namespace ember {
namespace {

constexpr std::size_t kMaxLabel = 63;  // of a part of a host name
constexpr std::string_view kKinds[] = {"asgi", "wsgi", "fastapi", "server"};

bool is_label_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

bool is_label(std::string_view text) {
  return !text.empty() && text.size() <= kMaxLabel && !text.starts_with('-') &&
         !text.ends_with('-') && std::ranges::all_of(text, is_label_character);
}

}  // namespace

Result<std::optional<WebSpec>> parse_web_spec(const JsonValue* value, const std::string& path) {
  if (!value || value->is_null()) return std::optional<WebSpec>();
  if (!value->is_object()) return Error{ErrorCode::invalid_argument, path + " must be an object"};
  Fields fields(*value, path + ".");
  WebSpec web;
  web.kind = fields.text("kind");
  web.label = fields.text_or("label", "");
  web.access = fields.flag_or("unauthenticated", false) ? WebAccess::open : WebAccess::by_key;
  if (auto read = fields.finish(); !read) return std::move(read).error();
  if (std::ranges::find(kKinds, web.kind) == std::end(kKinds)) {
    return Error{ErrorCode::invalid_argument, path + ".kind must be asgi, wsgi, fastapi or server"};
  }
  if (!web.label.empty() && !is_label(web.label)) {
    return Error{ErrorCode::invalid_argument,
                 path + ".label must be 1 to 63 of a-z, 0-9 and -, with - neither first nor last"};
  }
  return std::optional<WebSpec>(std::move(web));
}

JsonValue to_json(const WebSpec& web) {
  return {
      {"kind", web.kind}, {"label", web.label}, {"unauthenticated", web.access == WebAccess::open}};
}

std::string label_of(const WebSpec& web, std::string_view app, std::string_view callable) {
  if (!web.label.empty()) return web.label;
  std::string label(app);
  label.append("-").append(callable);
  for (char& c : label) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    if (!is_label_character(c)) c = '-';
  }
  label.resize(std::min(label.size(), kMaxLabel));
  while (label.ends_with('-')) label.pop_back();
  return label;
}

std::string WebOrigin::url(std::string_view label) const {
  std::string url = scheme;
  url.append("://").append(label).append(".").append(place);
  return url;
}

}  // namespace ember
