// Bytes on their way to a socket: short ones copied together, one long one kept as it is, both
// leaving in one system call.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

namespace ember {

class Output {
 public:
  // For appending heads, short bodies and pieces of streams. Only while has_tail() is false.
  std::string& text() { return text_; }
  // Appends a body: copied if short, else kept as the tail.
  void append_body(std::string body);

  bool has_tail() const { return !tail_.empty(); }
  bool empty() const { return size() == 0; }
  std::size_t size() const { return text_.size() + tail_.size() - sent_; }

  enum class Sent { all, some, failed };
  // Writes what the socket takes without waiting. `bytes` is increased by what left.
  Sent send(int socket, std::size_t& bytes);
  void clear();

 private:
  ssize_t send_once(int socket);

  std::string text_;
  std::string tail_;      // after the text
  std::size_t sent_ = 0;  // of both together
};

}  // namespace ember
