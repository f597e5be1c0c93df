// HTTP requests and responses as plain values: what handlers see. No Beast, no sockets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ember {

enum class Method : std::uint8_t { get, head, post, put, remove, other };

// The Content-Type of a request, as far as anything here depends on it.
enum class MediaType : std::uint8_t { none, json, form, text, pickle, other };

// What an Accept field asks for, as far as calls depend on it. A list that has a place for anything
// is of the first of its own that we know, or of none.
// The watched ones: of a function of either kind, or one that gives a result, or items.
enum class Accepts : std::uint8_t {
  anything,
  json,
  ndjson,
  items,
  events,
  watched,
  watched_result,
  watched_items,
};
constexpr bool is_watched(Accepts accepts) { return accepts >= Accepts::watched; }

// A request's line and the fields that matter; strings keep their memory from request to request.
struct RequestHead {
  Method method = Method::other;
  std::string target;         // path and query, as received
  std::string verb;           // the method as received; here and in fields where they are kept
  std::string fields;         // "Name: value\r\n" for each field, in order
  std::size_t path_size = 0;  // of the part of target before '?'
  std::string authorization;
  std::string host;
  MediaType media = MediaType::none;
  Accepts accepts = Accepts::anything;
  std::uint64_t content_length = 0;
  bool http11 = true;
  bool keep_alive = false;
  bool chunked = false;
  bool expects_continue = false;
  std::string idempotency_key;
  // Of a request that asks, as RFC 6455 has it, to go on in WebSocket messages; empty: none.
  std::string websocket_key;

  std::string_view path() const { return std::string_view(target).substr(0, path_size); }
  std::string_view query() const {
    return path_size < target.size() ? std::string_view(target).substr(path_size + 1) : "";
  }
  bool has_body() const { return chunked || content_length > 0; }
};

struct Response {
  int status = 200;
  std::string_view content_type = "application/json";  // a literal
  std::string headers;                                 // further lines, each with its CRLF
  std::string body;
};

}  // namespace ember
