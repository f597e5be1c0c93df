#include "gateway/websocket.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ember {
namespace {

std::string frame(unsigned char first, std::string_view payload, bool masked = true,
                  int length_bytes = 0) {
  std::string out(1, static_cast<char>(first));
  const char mask_bit = masked ? '\x80' : '\0';
  const std::uint64_t size = payload.size();
  if (length_bytes == 0) length_bytes = size < 126 ? 1 : size <= 0xffff ? 2 : 8;
  if (length_bytes == 1) {
    out.push_back(static_cast<char>(static_cast<char>(size) | mask_bit));
  } else {
    out.push_back(static_cast<char>((length_bytes == 2 ? 126 : 127) | mask_bit));
    for (int i = length_bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(size >> (8 * i)));
  }
  if (!masked) return out.append(payload);
  const char mask[] = {1, 2, 3, 4};
  out.append(mask, 4);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    out.push_back(static_cast<char>(payload[i] ^ mask[i % 4]));
  }
  return out;
}

struct Told final : WebSocketEvents {
  void on_text_message(std::string_view text) override { texts.emplace_back(text); }
  void on_bytes_piece(std::string_view piece) override { bytes += piece; }
  void on_ping(std::string_view payload) override { pings.emplace_back(payload); }
  void on_close() override { closed = true; }
  std::vector<std::string> texts, pings;
  std::string bytes;
  bool closed = false;
};

bool feed(WebSocketReader& reader, Told& told, std::string_view bytes) {
  return reader.feed(bytes, told, [] { return true; });
}

TEST(WebSocket, TheKeyOfTheStandardGetsTheAnswerOfTheStandard) {
  EXPECT_EQ(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocket, MessagesAreReadAlikeHoweverTheirBytesAreCut) {
  const std::string large(70'000, 'x');
  const std::string all = frame(0x81, "{\"a\": 1}") + frame(0x82, large) + frame(0x01, "in ") +
                          frame(0x89, "still there?") + frame(0x00, "three ") +
                          frame(0x80, "parts") + frame(0x82, "") + frame(0x88, "\x03\xe8");
  for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, all.size()}) {
    WebSocketReader reader;
    Told told;
    for (std::size_t at = 0; at < all.size(); at += step) {
      ASSERT_TRUE(feed(reader, told, std::string_view(all).substr(at, step)));
    }
    EXPECT_EQ(told.texts, (std::vector<std::string>{"{\"a\": 1}", "in three parts"}));
    EXPECT_EQ(told.bytes, large);
    EXPECT_EQ(told.pings, std::vector<std::string>{"still there?"});
    EXPECT_TRUE(told.closed);
  }
}

TEST(WebSocket, NothingIsToldBehindAClose) {
  WebSocketReader reader;
  Told told;
  EXPECT_TRUE(feed(reader, told, frame(0x88, "") + frame(0x81, "late")));
  EXPECT_TRUE(told.closed);
  EXPECT_TRUE(told.texts.empty());
}

TEST(WebSocket, AClientThatBreaksARuleIsToldWhich) {
  const std::string too_large_head =
      std::string("\x82\xff", 2) + std::string("\0\0\0\1\0\0\0\0", 8);
  const struct {
    const char* what;
    std::string bytes;
    WebSocketClose code;
  } cases[] = {
      {"no mask", frame(0x81, "hello", false), WebSocketClose::protocol_error},
      {"a reserved bit", frame(0xc1, "hello"), WebSocketClose::protocol_error},
      {"an unknown kind", frame(0x83, ""), WebSocketClose::protocol_error},
      {"an unknown control kind", frame(0x8b, ""), WebSocketClose::protocol_error},
      {"nothing to continue", frame(0x80, "more"), WebSocketClose::protocol_error},
      {"a message within a message", frame(0x01, "a") + frame(0x81, "b"),
       WebSocketClose::protocol_error},
      {"a control frame in parts", frame(0x09, ""), WebSocketClose::protocol_error},
      {"a long control frame", frame(0x89, std::string(126, 'x')), WebSocketClose::protocol_error},
      {"a length in more bytes than it takes", frame(0x82, "abc", true, 2),
       WebSocketClose::protocol_error},
      {"the same with eight", frame(0x82, std::string(200, 'x'), true, 8),
       WebSocketClose::protocol_error},
      {"a frame of 4 GiB", too_large_head + "mask", WebSocketClose::too_large},
      {"a long text", frame(0x81, std::string(WebSocketReader::kMaxTextBytes + 1, 'x')),
       WebSocketClose::too_large},
      {"a long text in parts",
       frame(0x01, std::string(WebSocketReader::kMaxTextBytes, 'x')) + frame(0x80, "y"),
       WebSocketClose::too_large},
  };
  for (const auto& one : cases) {
    WebSocketReader reader;
    Told told;
    EXPECT_FALSE(feed(reader, told, one.bytes)) << one.what;
    EXPECT_EQ(reader.failure(), one.code) << one.what;
    EXPECT_FALSE(feed(reader, told, frame(0x81, "afterwards"))) << one.what;
    EXPECT_TRUE(told.texts.empty()) << one.what;
  }
}

TEST(WebSocket, FramesAreWrittenInTheLeastBytes) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{125}, std::size_t{126},
                                 std::size_t{65'535}, std::size_t{65'536}}) {
    std::string out;
    append_frame(out, WebSocketKind::bytes, std::string(size, 'x'));
    EXPECT_EQ(out.size() - size, size < 126 ? 2u : size <= 0xffff ? 4u : 10u);
    EXPECT_EQ(out[0], '\x82');
  }
  std::string close;
  append_close(close, WebSocketClose::too_large);
  EXPECT_EQ(close, std::string("\x88\x02\x03\xf1", 4));
}

}  // namespace
}  // namespace ember
