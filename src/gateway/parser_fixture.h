// For the parser's tests and its fuzzer: what it makes of bytes, as a text to compare.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "gateway/request_parser.h"

namespace ember {

inline constexpr std::size_t kHeadLimitBytes = 512;
inline constexpr std::size_t kBodyLimitBytes = 64;

// Feeds `bytes` in pieces of `size_of_piece()` and tells what came of it.
template <class PieceSize>
std::string outcome(std::string_view bytes, PieceSize size_of_piece) {
  RequestParser parser(kHeadLimitBytes);
  std::string waiting, body;
  bool in_body = false;
  const auto told = [&](const char* how) {
    if (std::string_view(how) == "refused")
      return "refused " + std::to_string(parser.failure().status);
    return how + (" " + parser.head().target) + "|" + parser.head().host + "|" + body;
  };
  while (!bytes.empty()) {
    const std::size_t size = std::min<std::size_t>(size_of_piece(), bytes.size());
    waiting.append(bytes.substr(0, size));
    bytes.remove_prefix(size);
    for (bool more = true; more && !waiting.empty();) {
      const ParseStep step =
          in_body ? parser.feed_chunks(waiting, body, kBodyLimitBytes) : parser.feed_head(waiting);
      if (step.status == ParseStatus::failed) return told("refused");
      waiting.erase(0, step.consumed);
      more = step.consumed > 0;
      if (step.status == ParseStatus::message_done) return told("whole");
      if (step.status == ParseStatus::head_done && !in_body) {
        if (!parser.head().chunked) return told("head");
        in_body = true;
      }
    }
  }
  return told("unfinished");
}

// Whether a fault is named or more bytes are awaited may depend on the cut; what is accepted may
// not.
inline std::string accepted(const std::string& outcome) {
  return outcome.starts_with("head") || outcome.starts_with("whole") ? outcome : std::string();
}

}  // namespace ember
