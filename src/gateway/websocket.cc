#include "gateway/websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <utility>

namespace ember {
namespace {

constexpr std::string_view kProtocolsUuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::size_t kMaxControlBytes = 125;
constexpr unsigned char kLast = 0x80, kReserved = 0x70, kKind = 0x0f, kMasked = 0x80,
                        kLength = 0x7f;
constexpr unsigned char kLengthIn2 = 126, kLengthIn8 = 127;
constexpr std::size_t kMaskBytes = 4;

bool is_control(WebSocketKind kind) { return static_cast<unsigned>(kind) >= 8; }

bool is_known(WebSocketKind kind) {
  using enum WebSocketKind;
  return kind == more || kind == text || kind == bytes || kind == close || kind == ping ||
         kind == pong;
}

std::size_t length_bytes(unsigned char length) {
  return length == kLengthIn2 ? 2 : length == kLengthIn8 ? 8 : 0;
}

}  // namespace

std::string websocket_accept(std::string_view key) {
  const std::string text = std::string(key) + std::string(kProtocolsUuid);
  unsigned char digest[SHA_DIGEST_LENGTH];
  ::SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  unsigned char encoded[SHA_DIGEST_LENGTH * 2];
  const int size = ::EVP_EncodeBlock(encoded, digest, SHA_DIGEST_LENGTH);
  return {reinterpret_cast<const char*>(encoded), static_cast<std::size_t>(size)};
}

void append_frame(std::string& out, WebSocketKind kind, std::string_view payload) {
  const std::uint64_t size = payload.size();
  out.push_back(static_cast<char>(kLast | static_cast<unsigned char>(kind)));
  int further = 0;
  if (size < kLengthIn2) {
    out.push_back(static_cast<char>(size));
  } else {
    further = size <= 0xffff ? 2 : 8;
    out.push_back(static_cast<char>(further == 2 ? kLengthIn2 : kLengthIn8));
  }
  for (int byte = further - 1; byte >= 0; --byte) {
    out.push_back(static_cast<char>(size >> (8 * byte) & 0xff));
  }
  out.append(payload);
}

void append_close(std::string& out, WebSocketClose code) {
  const auto number = static_cast<std::uint16_t>(code);
  const char payload[] = {static_cast<char>(number >> 8), static_cast<char>(number & 0xff)};
  append_frame(out, WebSocketKind::close, {payload, sizeof payload});
}

void WebSocketReader::fail(WebSocketClose why) {
  failed_ = true;
  failure_ = why;
}

std::size_t WebSocketReader::step(std::string_view bytes, WebSocketEvents& events) {
  if (!in_payload_) {
    const std::size_t taken = read_head(bytes);
    if (in_payload_ && left_ == 0) end_frame(events);
    return taken;
  }
  const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_));
  piece_.assign(bytes.substr(0, taken));
  for (char& byte : piece_) byte = static_cast<char>(byte ^ mask_[mask_at_++ % kMaskBytes]);
  left_ -= taken;
  if (is_control(kind_)) {
    control_.append(piece_);
  } else if (message_ == WebSocketKind::text) {
    text_.append(piece_);
  } else {
    events.on_bytes_piece(piece_);
  }
  if (left_ == 0) end_frame(events);
  return taken;
}

// Two bytes first: they tell how many follow.
std::size_t WebSocketReader::head_size() const {
  return head_bytes_ < 2 ? 2 : 2 + length_bytes(head_[1] & kLength) + kMaskBytes;
}

std::size_t WebSocketReader::read_head(std::string_view bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size() && head_bytes_ < head_size()) {
    head_[head_bytes_++] = static_cast<unsigned char>(bytes[taken++]);
    if (head_bytes_ == 2) check_head();
    if (failed_) return taken;
  }
  if (head_bytes_ == head_size()) begin_frame();
  return taken;
}

void WebSocketReader::check_head() {
  kind_ = static_cast<WebSocketKind>(head_[0] & kKind);
  is_last_ = (head_[0] & kLast) != 0;
  const bool goes_on = message_ != WebSocketKind::more;
  const bool fits = is_control(kind_) ? is_last_ && (head_[1] & kLength) <= kMaxControlBytes
                                      : goes_on == (kind_ == WebSocketKind::more);
  const bool masked = (head_[1] & kMasked) != 0;
  if ((head_[0] & kReserved) != 0 || !is_known(kind_) || !masked || !fits) {
    fail(WebSocketClose::protocol_error);
  }
}

void WebSocketReader::begin_frame() {
  const std::size_t further = length_bytes(head_[1] & kLength);
  left_ = further == 0 ? head_[1] & kLength : 0;
  for (std::size_t i = 0; i < further; ++i) left_ = left_ << 8 | head_[2 + i];
  const std::uint64_t least = further == 2 ? kLengthIn2 : further == 8 ? 0x10000 : 0;
  if (left_ < least) return fail(WebSocketClose::protocol_error);
  if (left_ > kMaxFrameBytes) return fail(WebSocketClose::too_large);
  std::copy_n(head_.begin() + static_cast<std::ptrdiff_t>(2 + further), kMaskBytes, mask_.begin());
  mask_at_ = 0;
  head_bytes_ = 0;
  in_payload_ = true;
  if (is_control(kind_)) return control_.clear();
  if (kind_ != WebSocketKind::more) message_ = kind_;
  if (message_ == WebSocketKind::text && text_.size() + left_ > kMaxTextBytes) {
    fail(WebSocketClose::too_large);
  }
}

void WebSocketReader::end_frame(WebSocketEvents& events) {
  in_payload_ = false;
  if (kind_ == WebSocketKind::close) {
    closed_ = true;
    return events.on_close();
  }
  if (kind_ == WebSocketKind::ping) return events.on_ping(control_);
  if (kind_ == WebSocketKind::pong || !is_last_) return;
  const WebSocketKind message = message_;
  message_ = WebSocketKind::more;
  if (message != WebSocketKind::text) return;
  const std::string text = std::exchange(text_, {});
  events.on_text_message(text);
}

}  // namespace ember
