// Reads HTTP/1 requests from a byte stream, strictly: Beast's parser, and on top of it refusals
// where Beast is lenient and a proxy in front might read the same bytes differently (repeated
// Content-Length, Host or Transfer-Encoding, codings other than chunked, folded lines).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/http.h"

namespace ember {

struct ParseFailure {
  int status = 400;
  std::string_view message;  // a literal
};

enum class ParseStatus : std::uint8_t { need_more, head_done, message_done, failed };

struct ParseStep {
  ParseStatus status = ParseStatus::need_more;
  std::size_t consumed = 0;  // bytes never to be fed again
};

// Whether a head's verb and fields are kept as they came, for who sends them on.
enum class HeadKept : std::uint8_t { what_matters, all };

class RequestParser {
 public:
  explicit RequestParser(std::size_t head_limit_bytes, HeadKept kept = HeadKept::what_matters);
  ~RequestParser();

  // Begins the next request.
  void reset();
  // Feeds bytes of the head: what is left unconsumed must come again, with more behind it. After
  // head_done the body follows: content_length bytes as they are, or chunks for feed_chunks.
  ParseStep feed_head(std::string_view bytes);
  // Feeds a chunked body and appends its content to `body`, up to `limit_bytes` in all.
  ParseStep feed_chunks(std::string_view bytes, std::string& body, std::size_t limit_bytes);

  const RequestHead& head() const;
  const ParseFailure& failure() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ember
