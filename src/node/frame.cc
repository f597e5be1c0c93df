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

bool is_known(unsigned char type) {
  switch (static_cast<FrameType>(type)) {
    case FrameType::hello:
    case FrameType::ready:
    case FrameType::failed:
    case FrameType::input:
    case FrameType::batch:
    case FrameType::result:
    case FrameType::error:
    case FrameType::cancel:
    case FrameType::log:
    case FrameType::ping:
    case FrameType::pong:
    case FrameType::call:
    case FrameType::call_result:
    case FrameType::call_error:
    case FrameType::stop:
    case FrameType::secrets:
    case FrameType::volume:
    case FrameType::variant:
    case FrameType::chunk:
    case FrameType::credit:
    case FrameType::call_chunk:
    case FrameType::call_cancel:
    case FrameType::piece:
    case FrameType::room:
    case FrameType::shared:
    case FrameType::progress:
      return true;
  }
  return false;
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
  if (!is_known(type)) return std::nullopt;
  const std::uint32_t limit = max_frame_body(header.type);
  const bool in_file = (header.format & kFrameBodyInFile) != 0;
  if (header.length > limit || (in_file && limit < kMaxFrameBody)) return std::nullopt;
  return header;
}

std::string encode_credit(StreamCredit credit) {
  std::string body(kCreditSize, '\0');
  put(body.data(), credit.items);
  put(body.data() + sizeof credit.items, credit.bytes);
  return body;
}

std::optional<StreamCredit> decode_credit(std::string_view body) {
  if (body.size() != kCreditSize) return std::nullopt;
  return StreamCredit{get<std::uint32_t>(body.data()),
                      get<std::uint32_t>(body.data() + sizeof(std::uint32_t))};
}

std::string encode_batch(std::uint32_t inputs) {
  std::string body(kBatchSize, '\0');
  put(body.data(), inputs);
  return body;
}

}  // namespace ember
