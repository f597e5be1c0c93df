#include "gateway/output.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "base/assert.h"

namespace ember {
namespace {

constexpr std::size_t kCopiedBytes = 4u
                                     << 10;    // a copy of this much is cheaper than a second piece
constexpr std::size_t kKeptBytes = 16u << 10;  // memory kept for the next answer

}  // namespace

void Output::append_body(std::string body) {
  EMBER_ASSERT(!has_tail());
  if (body.size() <= kCopiedBytes) {
    text_.append(body);
  } else {
    tail_ = std::move(body);
  }
}

ssize_t Output::send_once(int socket) {
  const std::size_t from_text = std::min(sent_, text_.size());
  const std::size_t from_tail = sent_ - from_text;
  iovec pieces[2] = {{text_.data() + from_text, text_.size() - from_text},
                     {tail_.data() + from_tail, tail_.size() - from_tail}};
  msghdr message{};
  message.msg_iov = pieces[0].iov_len > 0 ? pieces : pieces + 1;
  message.msg_iovlen = pieces[0].iov_len > 0 && pieces[1].iov_len > 0 ? 2 : 1;
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

Output::Sent Output::send(int socket, std::size_t& bytes) {
  while (!empty()) {
    const ssize_t count = send_once(socket);
    if (count >= 0) {
      sent_ += static_cast<std::size_t>(count);
      bytes += static_cast<std::size_t>(count);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return Sent::failed;
    // A stream that goes on for hours must not keep what has left already. Half at a time, or a
    // large item would be moved for each piece of it that leaves.
    if (tail_.empty() && sent_ > std::max(kKeptBytes, text_.size() / 2)) {
      text_.erase(0, sent_);
      sent_ = 0;
    }
    return Sent::some;
  }
  clear();
  return Sent::all;
}

void Output::clear() {
  sent_ = 0;
  if (text_.capacity() > kKeptBytes) text_ = {};
  text_.clear();
  tail_ = {};
}

}  // namespace ember
