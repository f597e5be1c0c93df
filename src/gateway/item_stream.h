// The items of a generator function on their way to a client: how each leaves in the form that the
// client asked for, and which of them have wholly left, so that the function may go on.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "control/control.h"

namespace ember {

enum class ItemFraming : std::uint8_t {
  lines,   // application/x-ndjson: one JSON document a line
  events,  // text/event-stream
  frames,  // application/x-ember-items: u8 kind, u32 length in little-endian order, the bytes
  watched_frames,  // application/x-ember-watched: the same, also of one result
};

class ItemStream {
 public:
  explicit ItemStream(ItemFraming framing) : framing_(framing) {}

  std::string_view content_type() const;
  // What to write for each. `error` is the body of an error response.
  std::string item(std::string_view value) const;
  std::string error(std::string_view error) const;
  std::string end(const CallReport& report) const;
  std::string silence() const;  // while there is nothing to say
  // Not of lines.
  std::string result(std::string_view value) const;
  std::string status(const CallStatus& status) const;
  std::string progress(std::string_view progress) const;

  // So many bytes of the stream have been given to the connection, the last of them an item's.
  void wrote_item(std::size_t item_bytes, std::uint64_t stream_bytes);
  // The items that are wholly among the first bytes of the stream, and were not before.
  StreamCredit gone(std::uint64_t stream_bytes);

 private:
  struct Item {
    std::uint64_t end = 0;
    std::uint32_t bytes = 0;
  };

  bool has_frames() const;

  ItemFraming framing_;
  std::deque<Item> items_;  // that have not wholly left; as many as the window has
};

}  // namespace ember
