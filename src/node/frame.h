// The runner protocol's frames: what `serve` and a runner say to each other over a Unix stream
// socket. docs/reference/runner-protocol.md is the page of record; python/ember/runner/_frames.py
// is the other end.
//
// Header, 16 bytes little-endian: u32 body length, u8 type, u8 format, u16 attempt, u64 stream.
// The stream is the input id for Input, Cancel, Result, Error, Log and Progress, the runner's own
// number for Call, Shared, CallResult and CallError, else 0. Chunk goes with the input id and
// CallChunk and CallCancel with the runner's own number; Credit with that of the stream that it is
// given for; Piece and Room with the input id.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/body_format.h"
#include "model/stream_window.h"

namespace ember {

inline constexpr std::uint32_t kRunnerProtocolVersion = 1;
inline constexpr std::uint32_t kMaxFrameBody = 256u << 20;
inline constexpr std::uint32_t kMaxLogBody = 256u << 10;
inline constexpr std::uint32_t kMaxErrorBody = 4u << 20;
inline constexpr std::uint32_t kMaxSecretsBody = 2u << 20;
inline constexpr std::uint32_t kMaxNoticeBody = 64u << 10;  // of all that carries no user's value

enum class FrameType : std::uint8_t {
  hello = 1,   // runner -> serve  {"protocol", "container_id", "pid", "python", "state", "busy":
               // [input ids]}
  ready = 2,   // runner -> serve  {"timeline_us": {"interpreter", "imports"}}
  failed = 3,  // runner -> serve  the user's module could not be loaded; an error body
  input = 4,   // serve -> runner  u64 call id, then the arguments
  batch = 5,   // serve -> runner  u32 n: the n inputs that follow run as one
  result = 7,  // runner -> serve  the value
  error = 8,   // runner -> serve  an error body
  cancel = 9,  // serve -> runner  empty
  log = 10,    // runner -> serve  first byte 1 stdout or 2 stderr, then text; or 0, then u64 lines
               // and u64 bytes that were dropped
  ping = 13,   // either way, empty
  pong = 14,
  call = 15,         // runner -> serve  u16 length and JSON {"app", "function"}, then the arguments
  call_result = 16,  // serve -> runner
  call_error = 17,   // serve -> runner
  stop = 18,         // serve -> runner  no more inputs come: run the exit path and end
  secrets = 19,      // serve -> runner  before the user's module is loaded, for each secret: u16
                     // length and mount ("": environment), u32 length and pairs, of each u32 length
                     // and key, u32 length and value
  volume = 20,       // runner -> serve  {"action", "volume"}; answered as a call is
  variant = 21,      // runner -> serve  {"app", "function", "parameters", "options"}; answered as a
                     // call is
  chunk = 23,        // runner -> serve  an item of a generator, in the format of the input
  credit = 24,  // to who sends items  u32 items and u32 bytes that may follow beyond those before
  call_chunk = 25,   // serve -> runner  an item of the generator that a Call called
  call_cancel = 26,  // runner -> serve  empty; nobody waits for that call any more
  piece = 30,        // serve -> runner  bytes of a web request behind its head; empty: its end
  room = 31,         // runner -> serve  like a Credit: so much of the pieces has been taken
  shared = 32,       // runner -> serve  u16 length and JSON {"kind", "name", "action", ...}, then
                     // values: what is asked of a dictionary or a queue; answered as a call is
  progress = 33,     // runner -> serve  {"step", "total", "metrics"}: how far an input is
};

// The bits of the format byte that hold a BodyFormat.
inline constexpr std::uint8_t kFrameFormatMask = 0x03;
// The bits of an Input's format byte that say which method of the class it is for, from 0; of a
// plain function they are 0.
inline constexpr int kFrameMethodShift = 2;
inline constexpr std::uint8_t kFrameMethods = 32;
// Set in the format byte when the body lies in a file whose descriptor came with the frame
// (SCM_RIGHTS); the frame's own body is then empty but for fixed prefixes, and the file is the
// rest.
inline constexpr std::uint8_t kFrameBodyInFile = 0x80;

struct FrameHeader {
  std::uint32_t length = 0;
  FrameType type = FrameType::ping;
  std::uint8_t format = 0;
  std::uint16_t attempt = 0;
  std::uint64_t stream = 0;
};

inline BodyFormat body_format(const FrameHeader& header) {
  return static_cast<BodyFormat>(header.format & kFrameFormatMask);
}

// The longest body of such a frame.
constexpr std::uint32_t max_frame_body(FrameType type) {
  switch (type) {
    case FrameType::input:
    case FrameType::result:
    case FrameType::call:
    case FrameType::shared:
    case FrameType::call_result:
      return kMaxFrameBody;
    case FrameType::failed:
    case FrameType::error:
    case FrameType::call_error:
      return kMaxErrorBody;
    case FrameType::chunk:
    case FrameType::call_chunk:
      return kMaxItemBytes;
    case FrameType::log:
      return kMaxLogBody;
    case FrameType::secrets:
      return kMaxSecretsBody;
    default:
      return kMaxNoticeBody;
  }
}

inline constexpr std::size_t kFrameHeaderSize = 16;
inline constexpr std::size_t kCreditSize = 8;
inline constexpr std::size_t kBatchSize = 4;

std::array<char, kFrameHeaderSize> encode(const FrameHeader& header);
// Nothing for an unknown type, a length over max_frame_body(), or a body in a file where that is
// not for values (max_frame_body() says less than kMaxFrameBody): the connection is then closed.
std::optional<FrameHeader> decode(const std::array<char, kFrameHeaderSize>& bytes);

// The body of a Credit; nothing for one of another size.
std::string encode_credit(StreamCredit credit);
std::optional<StreamCredit> decode_credit(std::string_view body);
// The body of a Batch.
std::string encode_batch(std::uint32_t inputs);

}  // namespace ember
