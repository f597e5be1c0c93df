// Writes response heads into a buffer that the connection reuses. By hand: this is on the warm
// path, where an allocation or a stream would cost as much as the parser.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "control/control.h"
#include "gateway/http.h"

namespace ember {

struct Framing {
  bool http11 = true;
  bool keep_alive = true;
};

void append_number(std::string& out, std::int64_t value);
// "HTTP/1.1 200 OK" and what every response carries: Date (a whole line, kept by the server) and
// Connection where it differs from the version's default.
void append_status(std::string& out, int status, Framing framing, std::string_view date_line);
// Content-Type, Content-Length and the blank line.
void append_body_fields(std::string& out, std::string_view content_type, std::size_t body_bytes);
// Ember-* and Server-Timing lines.
void append_call_fields(std::string& out, const CallReport& report);
// Ember-Call-Id alone: for calls that failed before anything ran.
void append_call_id(std::string& out, CallId call);

std::string_view content_type_of(BodyFormat format);
// "Date: Wed, 25 Nov 2026 09:00:00 GMT\r\n"
std::string date_line(Time now);

}  // namespace ember
