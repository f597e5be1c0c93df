// covers: src/gateway/request_parser.cc src/gateway/query.cc src/gateway/host_list.cc
// covers: src/gateway/router.cc
//
// Requests, on the parser alone: whatever the cut, the same is accepted, and an accepted head obeys
// the grammar as it is checked anew here, with no code in common.
#include <array>
#include <string>
#include <vector>

#include "base/assert.h"
#include "base/random.h"
#include "gateway/host_list.h"
#include "gateway/parser_fixture.h"
#include "gateway/query.h"
#include "gateway/router.h"
#include "targets.h"

namespace ember::fuzz {
namespace {

bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!plain && kMarks.find(c) == std::string_view::npos) return false;
  }
  return !text.empty();
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return result;
}

// A head without any freedom: lines that end in CRLF, no control characters, names that are tokens
// with the colon right behind, at most one Host and one way to tell where the body ends.
bool is_strict(std::string_view head) {
  int hosts = 0, lengths = 0, encodings = 0;
  bool first = true;
  while (!head.empty()) {
    const std::size_t end = head.find("\r\n");
    if (end == std::string_view::npos) return false;
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    if (line.empty()) return head.empty() && hosts <= 1 && lengths + encodings <= 1;
    for (const char c : line) {
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) return false;
    }
    if (std::exchange(first, false)) continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return false;
    const std::string name = lower(line.substr(0, colon));
    hosts += name == "host";
    lengths += name == "content-length";
    encodings += name == "transfer-encoding";
  }
  return false;
}

void check_head(std::string_view bytes) {
  RequestParser parser(kHeadLimitBytes);
  const ParseStep step = parser.feed_head(bytes);
  if (step.status != ParseStatus::head_done) return;
  EMBER_ASSERT(is_strict(bytes.substr(0, step.consumed)));
  const RequestHead& head = parser.head();
  EMBER_ASSERT(head.target.starts_with('/'));
  EMBER_ASSERT(!(head.chunked && head.content_length > 0));

  static const std::vector<Route> kRoutes = make_routes(1 << 20);
  static const HostList kHosts("127.0.0.1", {"gpus.example"});
  std::vector<std::string> parameters;
  const Match match = find_route(kRoutes, head.method, head.path(), parameters);
  if (match.route != nullptr) {
    for (const std::string& parameter : parameters) {
      EMBER_ASSERT(!parameter.empty() && parameter.find('\0') == std::string::npos);
    }
  }
  if (kHosts.allows(head.host)) {
    const std::string name = lower(head.host);
    EMBER_ASSERT(name.starts_with("localhost") || name.starts_with("127.0.0.1") ||
                 name.starts_with("[::1]") || name.starts_with("gpus.example"));
  }
  const Query query(head.query());
  for (const char* name : {"app", "last", "from_ms", ""}) {
    EMBER_ASSERT(query.text(name).find('\0') == std::string::npos);
    EMBER_ASSERT(query.number(name).value_or(0) >= -1);
  }
}

}  // namespace

void http(std::string_view bytes) {
  const Input input(bytes);
  check_head(input.rest);
  Random random(input.choice);
  const std::string whole = outcome(input.rest, [&] { return input.rest.size(); });
  const std::string single = outcome(input.rest, [] { return 1u; });
  const std::string cut = outcome(input.rest, [&] { return 1 + random.below(20); });
  EMBER_ASSERT(accepted(whole) == accepted(single));
  EMBER_ASSERT(accepted(whole) == accepted(cut));
}

}  // namespace ember::fuzz
