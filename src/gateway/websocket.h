// WebSocket (RFC 6455) as the server of a conversation speaks it: what comes, read byte by byte
// without a copy of large messages, and the heads of what goes. Every rule on frames is kept, and a
// client that breaks one is told its code and let go.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ember {

// The value of Sec-WebSocket-Accept for a request's key.
std::string websocket_accept(std::string_view key);

enum class WebSocketKind : std::uint8_t {
  more = 0,
  text = 1,
  bytes = 2,
  close = 8,
  ping = 9,
  pong = 10,
};

// Appends a whole frame.
void append_frame(std::string& out, WebSocketKind kind, std::string_view payload);

enum class WebSocketClose : std::uint16_t {
  done = 1000,
  protocol_error = 1002,
  too_large = 1009,
};
void append_close(std::string& out, WebSocketClose code);

class WebSocketEvents {
 public:
  virtual ~WebSocketEvents() = default;
  virtual void on_text_message(std::string_view text) = 0;
  virtual void on_bytes_piece(std::string_view bytes) = 0;  // of a message, in order
  virtual void on_ping(std::string_view payload) = 0;
  virtual void on_close() = 0;
};

class WebSocketReader {
 public:
  static constexpr std::size_t kMaxTextBytes = 256u << 10;
  static constexpr std::size_t kMaxFrameBytes = 1u << 20;

  // Reads on; false once the client has broken a rule: failure() says which. Nothing after it, or
  // after a close, is told. `more()` is asked between two events: false leaves the rest unread.
  template <class More>
  bool feed(std::string_view bytes, WebSocketEvents& events, More more) {
    while (!bytes.empty() && !failed_ && !closed_ && more())
      bytes.remove_prefix(step(bytes, events));
    return !failed_;
  }
  WebSocketClose failure() const { return failure_; }

 private:
  std::size_t step(std::string_view bytes, WebSocketEvents& events);
  std::size_t read_head(std::string_view bytes);
  std::size_t head_size() const;
  void check_head();
  void begin_frame();
  void end_frame(WebSocketEvents& events);
  void fail(WebSocketClose why);

  std::array<unsigned char, 14> head_{};
  std::size_t head_bytes_ = 0;
  bool in_payload_ = false;
  bool is_last_ = false;
  WebSocketKind kind_ = WebSocketKind::more;     // of the frame
  WebSocketKind message_ = WebSocketKind::more;  // of the message that goes on; more: none does
  std::uint64_t left_ = 0;                       // of the payload
  std::size_t mask_at_ = 0;
  std::array<unsigned char, 4> mask_{};
  std::string text_;     // of a message
  std::string control_;  // of a control frame
  std::string piece_;    // scratch
  bool failed_ = false;
  bool closed_ = false;
  WebSocketClose failure_ = WebSocketClose::protocol_error;
};

}  // namespace ember
