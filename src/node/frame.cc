#include "node/frame.h"

namespace ember {
namespace {

template <class Unsigned>
void put(char* out, Unsigned value) {
  for (std::size_t i = 0; i < sizeof(value); ++i) out[i] = static_cast<char>(value >> (8 * i));
}

template <class Unsigned>
Unsigned get(const char* in) {
  Unsigned value = 0;
  for (std::size_t i = 0; i < sizeof(value); ++i) {
    value = static_cast<Unsigned>(value | static_cast<Unsigned>(static_cast<unsigned char>(in[i]))
                                              << (8 * i));
  }
  return value;
}

}  // namespace

std::array<char, kFrameHeaderSize> encode(const FrameHeader& header) {
  std::array<char, kFrameHeaderSize> bytes;
  put(bytes.data(), header.length);
  bytes[4] = static_cast<char>(header.type);
  bytes[5] = static_cast<char>(header.format);
  put(bytes.data() + 6, header.attempt);
  put(bytes.data() + 8, header.stream);
  return bytes;
}

std::optional<FrameHeader> decode(const std::array<char, kFrameHeaderSize>& bytes) {
  const auto type = static_cast<unsigned char>(bytes[4]);
  FrameHeader header{.length = get<std::uint32_t>(bytes.data()),
                     .type = static_cast<FrameType>(type),
                     .format = static_cast<std::uint8_t>(bytes[5]),
                     .attempt = get<std::uint16_t>(bytes.data() + 6),
                     .stream = get<std::uint64_t>(bytes.data() + 8)};
  const bool known = type >= static_cast<unsigned char>(FrameType::hello) &&
                     type <= static_cast<unsigned char>(FrameType::stop);
  if (!known || header.length > kMaxFrameBody) return std::nullopt;
  return header;
}

}  // namespace ember
