#include "node/runner_link.h"

#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <deque>
#include <vector>

#include "base/assert.h"
#include "node/socket_io.h"

namespace ember {
namespace {

constexpr std::size_t kReadBuffer = 64 << 10;
// Bytes of a large body taken by one read: the string grows by as much, so that what the header
// promises costs nothing before it arrives and the copy lands in memory that is still warm.
constexpr std::size_t kBodyStep = 256 << 10;
// Of one turn; then the other connections have theirs. Nobody waits for logs.
constexpr int kReadsPerTurn = 8;
constexpr std::size_t kLogBytesPerTurn = 16 << 10;
// A body up to this size is copied behind its header, which is cheaper than a vector element.
constexpr std::size_t kCopiedBody = 1 << 10;
constexpr std::size_t kFlatPiece = 64 << 10;
constexpr std::size_t kMaxPieces = 64;  // of one gathered write
constexpr std::size_t kMaxPrefix = 64;

struct Piece {
  std::string bytes;
  UniqueFd file;        // sent with the first byte
  bool open = false;    // more small frames may be appended
  bool secret = false;  // wiped at its end

  ~Piece() {
    if (secret) ::explicit_bzero(bytes.data(), bytes.size());
  }
};

// What handlers that still sit in the loop keep alive after the link itself has gone.
class Connection final : public std::enable_shared_from_this<Connection>,
                         private BodyBudget::Waiter {
 public:
  Connection(boost::asio::io_context& loop, UniqueFd socket, BodyBudget& budget)
      : loop_(loop),
        socket_(loop, socket.release()),
        buffer_(kReadBuffer),
        budget_(budget),
        large_due_(loop) {
    socket_.non_blocking(true);
  }

  void start(RunnerLinkObserver* observer) {
    observer_ = observer;
    wait_readable();
  }

  void send(FrameHeader header, std::string_view prefix, std::string body, UniqueFd file);
  std::size_t bytes_queued() const { return bytes_queued_; }
  void pause() { paused_ = true; }
  void resume() {
    if (!std::exchange(paused_, false) || !socket_.is_open()) return;
    count_large_body();
    if (may_read()) wait_readable();
  }

  void close() {
    observer_ = nullptr;
    boost::system::error_code ignored;
    socket_.close(ignored);
    end_counting();
  }

 private:
  using Wait = boost::asio::posix::stream_descriptor::wait_type;
  enum class Read { again, later, closed };

  void wait_readable();
  void read_turn();
  Read read_once();
  ssize_t receive(char* into, std::size_t size);
  bool parse();
  bool begin_large_body(const FrameHeader& header);
  void count_large_body();
  void on_room() override;
  enum class Late { once_more, fails };
  void expect_large_body(Duration limit, Late late);
  void end_counting();
  bool may_read() const { return !paused_ && !out_of_budget_; }
  bool deliver(FrameHeader header, std::string& body);
  bool append_file(FrameHeader& header, std::string& body);
  void fail(std::string_view why);

  void schedule_flush();
  void flush();
  ssize_t write_some();
  void drop_written(std::size_t written);
  void stop_writing();

  boost::asio::io_context& loop_;
  boost::asio::posix::stream_descriptor socket_;
  RunnerLinkObserver* observer_ = nullptr;

  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // of what was read and not yet parsed
  std::string body_;                 // of the small frame being delivered; keeps its capacity
  FrameHeader large_header_;
  std::string large_body_;  // grows while large_missing_ bytes are yet to come
  std::size_t large_missing_ = 0;
  BodyBudget& budget_;
  std::size_t counted_bytes_ = 0;        // of the budget, for the large body
  bool out_of_budget_ = false;           // waits for it
  boost::asio::steady_timer large_due_;  // when the large body must be whole
  std::deque<UniqueFd> files_;
  std::size_t log_bytes_ = 0;  // read in this turn
  bool floods_ = false;        // logs filled the turn before: less is read at once
  bool paused_ = false;
  bool waiting_ = false;  // until there is something to read

  std::deque<Piece> pieces_;
  std::size_t front_offset_ = 0;
  std::size_t bytes_queued_ = 0;
  bool flush_due_ = false;      // posted, or waiting until the socket is writable
  bool writing_ended_ = false;  // the peer takes no more; what it sent before is still read
};

// --- out ---

void Connection::send(FrameHeader header, std::string_view prefix, std::string body,
                      UniqueFd file) {
  EMBER_ASSERT(prefix.size() <= kMaxPrefix);
  EMBER_ASSERT(prefix.size() + body.size() <= kMaxFrameBody);
  if (writing_ended_ || !socket_.is_open()) return;
  header.length = static_cast<std::uint32_t>(prefix.size() + body.size());
  const auto head = encode(header);
  bytes_queued_ += head.size() + header.length;
  const bool fits = !file && !pieces_.empty() && pieces_.back().open &&
                    pieces_.back().bytes.size() + header.length < kFlatPiece;
  if (!fits) pieces_.emplace_back();
  Piece& piece = pieces_.back();
  piece.bytes.append(head.data(), head.size()).append(prefix);
  const bool secret = header.type == FrameType::secrets;
  piece.open = body.size() <= kCopiedBody && !secret;
  if (file) piece.file = std::move(file);
  if (piece.open) {
    piece.bytes.append(body);
  } else {
    Piece& rest = pieces_.emplace_back();
    rest.bytes = std::move(body);
    rest.secret = secret;
  }
  schedule_flush();
}

void Connection::schedule_flush() {
  if (flush_due_) return;
  flush_due_ = true;
  boost::asio::post(loop_, [self = shared_from_this()] { self->flush(); });
}

void Connection::flush() {
  flush_due_ = false;
  while (!pieces_.empty() && socket_.is_open()) {
    const ssize_t written = write_some();
    if (written >= 0) {
      drop_written(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      flush_due_ = true;
      socket_.async_wait(Wait::wait_write, [self = shared_from_this()](auto error) {
        if (!error) self->flush();
      });
      return;
    } else if (errno != EINTR) {
      stop_writing();
    }
  }
}

// One gathered write from the front. A piece with a file begins a write of its own, since the
// descriptor belongs to the write's first byte.
ssize_t Connection::write_some() {
  iovec vectors[kMaxPieces];
  std::size_t count = 0;
  for (Piece& piece : pieces_) {
    if (count == kMaxPieces || (count > 0 && piece.file)) break;
    const std::size_t skip = count == 0 ? front_offset_ : 0;
    vectors[count++] = {piece.bytes.data() + skip, piece.bytes.size() - skip};
  }
  return send_vectors(socket_.native_handle(), {vectors, count}, pieces_.front().file.get());
}

void Connection::drop_written(std::size_t written) {
  bytes_queued_ -= written;
  pieces_.front().file.reset();
  while (written > 0) {
    const std::size_t left = pieces_.front().bytes.size() - front_offset_;
    if (written < left) {
      front_offset_ += written;
      pieces_.front().open = false;
      return;
    }
    written -= left;
    front_offset_ = 0;
    pieces_.pop_front();
  }
}

// The end of the connection is told by the reading side, after the peer's last frames.
void Connection::stop_writing() {
  writing_ended_ = true;
  pieces_.clear();
  bytes_queued_ = 0;
}

// --- in ---

void Connection::wait_readable() {
  if (std::exchange(waiting_, true)) return;
  socket_.async_wait(Wait::wait_read, [self = shared_from_this()](auto error) {
    self->waiting_ = false;
    if (!error) self->read_turn();
  });
}

void Connection::read_turn() {
  log_bytes_ = 0;
  for (int reads = 0; reads < kReadsPerTurn && log_bytes_ < kLogBytesPerTurn; ++reads) {
    if (!may_read()) return;
    const Read outcome = read_once();
    if (outcome == Read::closed) return;
    if (outcome == Read::later) break;
  }
  floods_ = log_bytes_ >= kLogBytesPerTurn;
  if (may_read()) wait_readable();
}

Connection::Read Connection::read_once() {
  std::size_t wanted, got;
  if (large_missing_ > 0) {
    const std::size_t old_size = large_body_.size();
    wanted = std::min(large_missing_, kBodyStep);
    large_body_.resize(old_size + wanted);
    const ssize_t received = receive(large_body_.data() + old_size, wanted);
    got = received > 0 ? static_cast<std::size_t>(received) : 0;
    large_body_.resize(old_size + got);
    if (received <= 0) return received == 0 ? Read::closed : Read::later;
    large_missing_ -= got;
    if (large_missing_ == 0) end_counting();
    if (large_missing_ == 0 && !deliver(large_header_, large_body_)) return Read::closed;
    if (large_missing_ == 0) large_body_ = {};
  } else {
    wanted = buffer_.size() - end_;
    if (floods_) wanted = std::min(wanted, kLogBytesPerTurn);
    const ssize_t received = receive(buffer_.data() + end_, wanted);
    if (received <= 0) return received == 0 ? Read::closed : Read::later;
    got = static_cast<std::size_t>(received);
    end_ += got;
    if (!parse()) return Read::closed;
  }
  return got == wanted ? Read::again : Read::later;
}

// The bytes read; 0 when the connection has ended and the observer knows; -1 when there are none.
ssize_t Connection::receive(char* into, std::size_t size) {
  const ssize_t received = receive_bytes(socket_.native_handle(), {into, size}, files_);
  if (received > 0) return received;
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return -1;
  fail(received == 0 ? "the runner closed its socket" : std::strerror(errno));
  return 0;
}

// Delivers every whole frame of the buffer. False when the connection has ended.
bool Connection::parse() {
  while (end_ - begin_ >= kFrameHeaderSize) {
    std::array<char, kFrameHeaderSize> head;
    std::memcpy(head.data(), buffer_.data() + begin_, head.size());
    const auto header = decode(head);
    if (!header) {
      fail("the runner sent a frame that is not of the protocol");
      return false;
    }
    const std::size_t available = end_ - begin_ - kFrameHeaderSize;
    if (available < header->length) {
      if (header->length + kFrameHeaderSize > buffer_.size() / 4) return begin_large_body(*header);
      break;
    }
    body_.assign(buffer_.data() + begin_ + kFrameHeaderSize, header->length);
    begin_ += kFrameHeaderSize + header->length;
    if (!deliver(*header, body_)) return false;
  }
  if (begin_ > 0) std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= std::exchange(begin_, 0);
  return true;
}

bool Connection::begin_large_body(const FrameHeader& header) {
  large_header_ = header;
  large_body_.reserve(header.length);
  large_body_.assign(buffer_.data() + begin_ + kFrameHeaderSize, end_ - begin_ - kFrameHeaderSize);
  large_missing_ = header.length - large_body_.size();
  begin_ = end_ = 0;
  count_large_body();
  return true;
}

// Not while nothing is read: what it took would be nobody's for as long as the pause lasts.
void Connection::count_large_body() {
  const bool is_large = large_missing_ > 0 && large_header_.length > BodyBudget::kFreeBytes;
  if (paused_ || !is_large || counted_bytes_ > 0) return;
  counted_bytes_ = large_header_.length;
  out_of_budget_ = !budget_.take(counted_bytes_, *this);
  if (!out_of_budget_) expect_large_body(budget_.patience(counted_bytes_), Late::once_more);
}

void Connection::on_room() {
  out_of_budget_ = false;
  expect_large_body(budget_.patience(counted_bytes_), Late::once_more);
  if (may_read()) wait_readable();
}

void Connection::expect_large_body(Duration limit, Late late) {
  large_due_.expires_after(std::chrono::microseconds(limit.us));
  large_due_.async_wait([self = shared_from_this(), late](auto error) {
    const bool is_old = self->large_due_.expiry() > std::chrono::steady_clock::now();
    if (error || is_old || self->counted_bytes_ == 0 || self->out_of_budget_) return;
    if (late == Late::fails) return self->fail("the runner did not send the rest of a frame");
    self->expect_large_body(self->budget_.grace(), Late::fails);
  });
}

void Connection::end_counting() {
  const std::size_t held = std::exchange(counted_bytes_, 0);
  if (held == 0) return;
  if (std::exchange(out_of_budget_, false)) return budget_.withdraw(*this);
  large_due_.cancel();
  budget_.give_back(held);
}

bool Connection::deliver(FrameHeader header, std::string& body) {
  if ((header.format & kFrameBodyInFile) != 0 && !append_file(header, body)) {
    fail("the runner sent a frame without the file it speaks of");
    return false;
  }
  if (header.type == FrameType::log) log_bytes_ += header.length;
  observer_->on_frame(header, body);
  return observer_ != nullptr;
}

// The observer sees the body whole, wherever it travelled.
bool Connection::append_file(FrameHeader& header, std::string& body) {
  if (files_.empty()) return false;
  const UniqueFd file = std::move(files_.front());
  files_.pop_front();
  struct stat status;
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > kMaxFrameBody - body.size()) return false;
  const std::size_t prefix = body.size();
  body.resize(prefix + size);
  for (std::size_t done = 0; done < size;) {
    const ssize_t got =
        ::pread(file.get(), body.data() + prefix + done, size - done, static_cast<off_t>(done));
    if (got <= 0) return false;
    done += static_cast<std::size_t>(got);
  }
  header.format = static_cast<std::uint8_t>(header.format & ~kFrameBodyInFile);
  header.length = static_cast<std::uint32_t>(body.size());
  return true;
}

void Connection::fail(std::string_view why) {
  RunnerLinkObserver* observer = observer_;
  close();
  if (observer != nullptr) observer->on_closed(why);
}

class SocketRunnerLink final : public RunnerLink {
 public:
  SocketRunnerLink(boost::asio::io_context& loop, UniqueFd socket, BodyBudget& budget)
      : connection_(std::make_shared<Connection>(loop, std::move(socket), budget)) {}
  ~SocketRunnerLink() override { connection_->close(); }

  void start(RunnerLinkObserver* observer) override { connection_->start(observer); }
  void send(FrameHeader header, std::string_view prefix, std::string body, UniqueFd file) override {
    connection_->send(header, prefix, std::move(body), std::move(file));
  }
  std::size_t bytes_queued() const override { return connection_->bytes_queued(); }
  void pause() override { connection_->pause(); }
  void resume() override { connection_->resume(); }

 private:
  std::shared_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<RunnerLink> make_runner_link(boost::asio::io_context& loop, UniqueFd socket,
                                             BodyBudget& budget) {
  return std::make_unique<SocketRunnerLink>(loop, std::move(socket), budget);
}

}  // namespace ember
