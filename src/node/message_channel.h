// Messages between a driver and a node over a Unix stream socket: a header of two u32 (length of
// the JSON, number of files: 0 or 1), then the JSON. Lives on the loop's thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "node/unique_fd.h"

namespace ember {

// Whatever sends more cuts the connection. Room for all that the checks in model/ let pass, as
// JSON.
inline constexpr std::size_t kMaxMessageBytes = 8 << 20;
// A peer that leaves this much unread is taken for stuck, and the channel is closed.
inline constexpr std::size_t kMaxBytesQueued = 32 << 20;

class MessageObserver {
 public:
  virtual ~MessageObserver() = default;
  virtual void on_message(std::string_view json, UniqueFd file) = 0;
  // The last call; the channel may be destroyed in it.
  virtual void on_channel_closed(std::string why) = 0;
};

class MessageChannel {
 public:
  virtual ~MessageChannel() = default;  // closes; no observer calls after
  virtual void start(MessageObserver* observer) = 0;
  virtual void send(std::string json, UniqueFd file = {}) = 0;
  virtual std::size_t bytes_queued() const = 0;  // sent and not yet taken by the socket
};

std::unique_ptr<MessageChannel> make_message_channel(boost::asio::io_context& loop,
                                                     UniqueFd socket);

}  // namespace ember
