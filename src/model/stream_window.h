// How far the producer of a stream of items may be ahead of who reads them: by so many items, and
// by so many bytes. Whoever has taken items gives credit for as many more.
#pragma once

#include <cstdint>

namespace ember {

struct StreamCredit {
  std::uint32_t items = 0;
  std::uint32_t bytes = 0;

  explicit operator bool() const { return items > 0; }
};

// What a stream begins with. An item is sent while there is credit of both kinds, so that the last
// one may go beyond the bytes.
inline constexpr StreamCredit kStreamWindow{64, 256u << 10};
inline constexpr std::uint32_t kMaxItemBytes = 16u << 20;

}  // namespace ember
