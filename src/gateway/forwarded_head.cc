#include "gateway/forwarded_head.h"

#include "gateway/header_fields.h"
#include "gateway/response_head.h"

namespace ember {
namespace {

// Said anew for each request.
constexpr std::string_view kOurs[] = {
    "host", "content-length", "expect", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"};

bool is_ours(std::string_view name) {
  for (const std::string_view one : kOurs) {
    if (is_same_name(name, one)) return true;
  }
  return false;
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

// A proxy in front that has spoken TLS says so; anything else is what we speak.
std::string_view scheme_of(std::string_view said) { return said == "https" ? said : "http"; }

void append_origin(std::string& out, const RequestHead& head, std::string_view client) {
  std::string clients = joined_values(head.fields, "x-forwarded-for");
  clients.append(clients.empty() ? "" : ", ").append(client);
  append_field(out, "Host", head.host);
  append_field(out, "X-Forwarded-For", clients);
  append_field(out, "X-Forwarded-Proto",
               scheme_of(joined_values(head.fields, "x-forwarded-proto")));
  append_field(out, "X-Forwarded-Host", head.host);
}

// Of a method whose requests have bodies; programs may insist on the length of an empty one.
bool expects_body(std::string_view verb) {
  return verb == "POST" || verb == "PUT" || verb == "PATCH";
}

void append_framing(std::string& out, const RequestHead& head) {
  if (head.chunked) {
    append_field(out, "Transfer-Encoding", "chunked");
  } else if (head.content_length > 0) {
    out.append("Content-Length: ");
    append_number(out, static_cast<std::int64_t>(head.content_length));
    out.append("\r\n");
  } else if (!head.websocket_key.empty()) {
    out.append("Connection: Upgrade\r\nUpgrade: websocket\r\n");
  } else if (expects_body(head.verb)) {
    append_field(out, "Content-Length", "0");
  }
}

}  // namespace

std::string forwarded_head(const RequestHead& head, std::string_view client,
                           Authorization authorization) {
  std::string out = head.verb;
  out.append(" ").append(head.target).append(" HTTP/1.1\r\n");
  append_origin(out, head, client);
  append_framing(out, head);
  const std::string connection = joined_values(head.fields, "connection");
  for (std::string_view lines = head.fields; !lines.empty();) {
    const HeaderField field = next_field(lines);
    const bool kept_back =
        authorization == Authorization::kept_back && is_same_name(field.name, "authorization");
    if (kept_back || is_ours(field.name) || is_hop_by_hop(field.name, connection)) continue;
    append_field(out, field.name, field.value);
  }
  return out.append("\r\n");
}

}  // namespace ember
