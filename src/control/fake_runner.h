// The other end of a runner's socket, for tests: real frames, sent and received by the test.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "node/frame.h"
#include "node/unique_fd.h"

namespace ember {

class FakeRunner {
 public:
  struct Frame {
    FrameHeader header;
    std::string body;
    UniqueFd file;
  };

  explicit FakeRunner(UniqueFd socket) : socket_(std::move(socket)) {}

  void send(FrameType type, std::string_view body, std::uint64_t stream = 0,
            std::uint16_t attempt = 0, BodyFormat format = BodyFormat::json) {
    const FrameHeader header{static_cast<std::uint32_t>(body.size()), type,
                             static_cast<std::uint8_t>(format), attempt, stream};
    const auto head = encode(header);
    std::string bytes(head.data(), head.size());
    bytes += body;
    // The server may have closed its end; that is found elsewhere.
    (void)::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }

  // How many of the bytes the socket takes at once.
  std::size_t offer(std::string_view bytes) {
    const ssize_t taken =
        ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return taken > 0 ? static_cast<std::size_t>(taken) : 0;
  }

  // A frame, if a whole one has come.
  std::optional<Frame> receive() {
    pull();
    if (buffer_.size() < kFrameHeaderSize) return std::nullopt;
    std::array<char, kFrameHeaderSize> head;
    std::memcpy(head.data(), buffer_.data(), head.size());
    const auto header = decode(head);
    if (!header || buffer_.size() < kFrameHeaderSize + header->length) return std::nullopt;
    Frame frame{*header, buffer_.substr(kFrameHeaderSize, header->length), {}};
    buffer_.erase(0, kFrameHeaderSize + header->length);
    if ((header->format & kFrameBodyInFile) && !files_.empty()) {
      frame.file = std::move(files_.front());
      files_.pop_front();
    }
    return frame;
  }

 private:
  void pull() {
    char bytes[65536];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    iovec vector{bytes, sizeof bytes};
    for (;;) {
      msghdr message{};
      message.msg_iov = &vector;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (got <= 0) return;
      buffer_.append(bytes, static_cast<std::size_t>(got));
      if (const cmsghdr* header = CMSG_FIRSTHDR(&message)) {
        int file;
        std::memcpy(&file, CMSG_DATA(header), sizeof file);
        files_.emplace_back(file);
      }
    }
  }

  UniqueFd socket_;
  std::string buffer_;
  std::deque<UniqueFd> files_;
};

}  // namespace ember
