// The records of a map's conversation (docs/reference/http.md): what a client's bytes are cut into,
// wherever its messages begin and end, and the heads of what goes back. All numbers are little
// endian.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "control/control.h"

namespace ember {

inline constexpr std::size_t kMapInputHeadBytes = 8 + 4 + 1;
inline constexpr std::size_t kMapResultHeadBytes = 8 + 4 + 1 + 8;
inline constexpr std::uint8_t kMapFailed = 0x80;  // in a result's kind: an error body, in JSON

struct MapInputHead {
  std::uint64_t number = 0;  // the client's own
  std::uint32_t length = 0;
  std::uint8_t format = 0;
};

static_assert(std::endian::native == std::endian::little);

inline MapInputHead read_map_input_head(const char* bytes) {
  MapInputHead head;
  std::memcpy(&head.number, bytes, sizeof head.number);
  std::memcpy(&head.length, bytes + 8, sizeof head.length);
  std::memcpy(&head.format, bytes + 12, sizeof head.format);
  return head;
}

inline void append_map_result(std::string& out, std::uint64_t number, std::uint8_t kind,
                              CallId call, std::string_view body) {
  const auto length = static_cast<std::uint32_t>(body.size());
  char head[kMapResultHeadBytes];
  std::memcpy(head, &number, sizeof number);
  std::memcpy(head + 8, &length, sizeof length);
  std::memcpy(head + 12, &kind, sizeof kind);
  std::memcpy(head + 13, &call.value, sizeof call.value);
  out.append(head, sizeof head).append(body);
}

}  // namespace ember
