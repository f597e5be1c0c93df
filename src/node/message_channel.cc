#include "node/message_channel.h"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "node/socket_io.h"

namespace ember {
namespace {

struct MessageHeader {
  std::uint32_t length = 0;
  std::uint32_t files = 0;
};

struct OutgoingMessage {
  std::string bytes;
  UniqueFd file;
};

// What handlers that still sit in the loop keep alive after the channel itself has gone.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::io_context& loop, UniqueFd socket)
      : loop_(loop), socket_(loop, socket.release()), buffer_(64 << 10) {}

  void start(MessageObserver* observer) {
    observer_ = observer;
    wait_readable();
    flush();
  }

  void send(std::string json, UniqueFd file) {
    if (!socket_.is_open()) return;
    const MessageHeader header{.length = static_cast<std::uint32_t>(json.size()),
                               .files = file ? 1u : 0u};
    OutgoingMessage message{.bytes = std::string(sizeof(header), '\0'), .file = std::move(file)};
    std::memcpy(message.bytes.data(), &header, sizeof(header));
    message.bytes += json;
    bytes_queued_ += message.bytes.size();
    outgoing_.push_back(std::move(message));
    if (bytes_queued_ > kMaxBytesQueued) {
      fail_later("the other side reads nothing");
    } else if (outgoing_.size() == 1) {
      flush();
    }
  }

  std::size_t bytes_queued() const { return bytes_queued_; }

  void close() {
    observer_ = nullptr;
    boost::system::error_code ignored;
    socket_.close(ignored);
  }

 private:
  using Wait = boost::asio::posix::stream_descriptor::wait_type;

  void wait_readable() {
    socket_.async_wait(Wait::wait_read, [self = shared_from_this()](auto error) {
      if (!error && self->read_once()) self->wait_readable();
    });
  }

  // False when the connection has ended.
  bool read_once() {
    if (end_ == buffer_.size()) buffer_.resize(buffer_.size() * 2);
    const ssize_t received = receive_bytes(socket_.native_handle(),
                                           {buffer_.data() + end_, buffer_.size() - end_}, files_);
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (received <= 0) {
      fail(received == 0 ? "the other side closed the connection" : std::strerror(errno));
      return false;
    }
    end_ += static_cast<std::size_t>(received);
    return parse();
  }

  bool parse() {
    std::size_t begin = 0;
    while (end_ - begin >= sizeof(MessageHeader)) {
      MessageHeader header;
      std::memcpy(&header, buffer_.data() + begin, sizeof(header));
      if (header.length > kMaxMessageBytes || header.files > 1) {
        fail("the other side sent what is not a message");
        return false;
      }
      if (end_ - begin - sizeof(header) < header.length) break;
      if (!deliver(header, buffer_.data() + begin + sizeof(header))) return false;
      begin += sizeof(header) + header.length;
    }
    std::memmove(buffer_.data(), buffer_.data() + begin, end_ - begin);
    end_ -= begin;
    return true;
  }

  bool deliver(const MessageHeader& header, const char* json) {
    UniqueFd file;
    if (header.files > 0) {
      if (files_.empty()) {
        fail("a message came without its file");
        return false;
      }
      file = std::move(files_.front());
      files_.pop_front();
    }
    observer_->on_message({json, header.length}, std::move(file));
    return observer_ != nullptr;
  }

  void flush() {
    while (!outgoing_.empty() && socket_.is_open()) {
      OutgoingMessage& message = outgoing_.front();
      iovec vector{message.bytes.data() + sent_, message.bytes.size() - sent_};
      const ssize_t sent = send_vectors(socket_.native_handle(), {&vector, 1}, message.file.get());
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0 && errno == EAGAIN) return wait_writable();
      if (sent < 0) return fail_later(std::strerror(errno));
      message.file.reset();
      bytes_queued_ -= static_cast<std::size_t>(sent);
      sent_ += static_cast<std::size_t>(sent);
      if (sent_ < message.bytes.size()) continue;
      sent_ = 0;
      outgoing_.pop_front();
    }
  }

  void wait_writable() {
    socket_.async_wait(Wait::wait_write, [self = shared_from_this()](auto error) {
      if (!error) self->flush();
    });
  }

  // The observer is never called from inside send().
  void fail_later(std::string why) {
    outgoing_.clear();
    bytes_queued_ = sent_ = 0;
    boost::system::error_code ignored;
    socket_.close(ignored);
    boost::asio::post(loop_, [self = shared_from_this(), why = std::move(why)]() mutable {
      self->fail(std::move(why));
    });
  }

  void fail(std::string why) {
    MessageObserver* observer = observer_;
    close();
    if (observer != nullptr) observer->on_channel_closed(std::move(why));
  }

  boost::asio::io_context& loop_;
  boost::asio::posix::stream_descriptor socket_;
  MessageObserver* observer_ = nullptr;
  std::vector<char> buffer_;  // grows to the largest message
  std::size_t end_ = 0;
  std::deque<UniqueFd> files_;
  std::deque<OutgoingMessage> outgoing_;
  std::size_t sent_ = 0;  // of the front message
  std::size_t bytes_queued_ = 0;
};

class SocketMessageChannel final : public MessageChannel {
 public:
  SocketMessageChannel(boost::asio::io_context& loop, UniqueFd socket)
      : connection_(std::make_shared<Connection>(loop, std::move(socket))) {}
  ~SocketMessageChannel() override { connection_->close(); }

  void start(MessageObserver* observer) override { connection_->start(observer); }
  void send(std::string json, UniqueFd file) override {
    connection_->send(std::move(json), std::move(file));
  }
  std::size_t bytes_queued() const override { return connection_->bytes_queued(); }

 private:
  std::shared_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<MessageChannel> make_message_channel(boost::asio::io_context& loop,
                                                     UniqueFd socket) {
  return std::make_unique<SocketMessageChannel>(loop, std::move(socket));
}

}  // namespace ember
