#include "node/dns_server.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <set>
#include <utility>

namespace ember {
namespace {

using boost::asio::ip::tcp;
using boost::asio::ip::udp;
using ErrorCodeOfAsio = boost::system::error_code;

constexpr std::size_t kMostWaiting = 32;
constexpr std::size_t kMostConnections = 8;
// So that who asks without end does not keep the loop from others.
constexpr std::size_t kMostInATurn = 50;
constexpr std::chrono::milliseconds kTurn{10};
constexpr std::chrono::seconds kConnectionLimit{10};  // for a question and its answer
constexpr std::size_t kMostQuestionBytes = 4096;
// After one that could not be taken: descriptors are short, and become free again.
constexpr std::chrono::milliseconds kPause{200};

}  // namespace

class DnsServer::Sockets : public std::enable_shared_from_this<Sockets> {
 public:
  Sockets(boost::asio::io_context& loop, UniqueFd datagrams, UniqueFd connections,
          OnQuestion on_question)
      : loop_(loop),
        datagrams_(loop, udp::v4(), datagrams.release()),
        connections_(loop, tcp::v4(), connections.release()),
        pause_(loop),
        on_question_(std::move(on_question)) {}

  void begin() {
    receive();
    accept();
  }
  void close();
  // For the answer to one question, which counts until it has been given.
  void ask(const DnsQuestion& question, std::function<void(std::string)> answer) {
    ++waiting_;
    on_question_(question, [weak = weak_from_this(), answer = std::move(answer)](std::string text) {
      const auto self = weak.lock();
      if (!self) return;
      --self->waiting_;
      if (self->datagrams_.is_open()) answer(std::move(text));
    });
  }
  bool is_busy() const { return waiting_ >= kMostWaiting; }
  // Goes on with what hears one thing more of the stranger.
  void in_turn(std::function<void()> next) {
    const auto now = std::chrono::steady_clock::now();
    if (now - turn_began_ >= kTurn) {
      turn_began_ = now;
      taken_ = 0;
    }
    if (++taken_ <= kMostInATurn) return next();
    const auto pause = std::make_shared<boost::asio::steady_timer>(loop_, turn_began_ + kTurn);
    pause->async_wait([self = shared_from_this(), pause, next = std::move(next)](ErrorCodeOfAsio) {
      if (self->datagrams_.is_open()) self->in_turn(next);
    });
  }

 private:
  class Connection;

  void receive() {
    datagrams_.async_receive_from(
        boost::asio::buffer(datagram_), from_,
        [self = shared_from_this()](ErrorCodeOfAsio error, std::size_t size) {
          if (!self->datagrams_.is_open()) return;
          if (!error) self->received(std::string_view(self->datagram_.data(), size));
          self->in_turn([sockets = self.get()] { sockets->receive(); });
        });
  }

  void received(std::string_view message) {
    const auto question = read_question(message);
    if (!question || is_busy()) return;
    ask(*question, [this, question = *question, to = from_](std::string answer) {
      ErrorCodeOfAsio ignored;
      datagrams_.send_to(boost::asio::buffer(fitted(std::move(answer), question)), to, 0, ignored);
    });
  }

  void accept();
  void accept_later() {
    pause_.expires_after(kPause);
    pause_.async_wait([self = shared_from_this()](ErrorCodeOfAsio error) {
      if (!error && self->connections_.is_open()) self->accept();
    });
  }

  boost::asio::io_context& loop_;
  udp::socket datagrams_;
  tcp::acceptor connections_;
  boost::asio::steady_timer pause_;
  const OnQuestion on_question_;
  std::array<char, kMostQuestionBytes> datagram_;
  udp::endpoint from_;
  std::size_t waiting_ = 0;
  std::chrono::steady_clock::time_point turn_began_{};
  std::size_t taken_ = 0;  // in the turn
  std::set<std::shared_ptr<Connection>> open_;
};

// Takes one question after the other.
class DnsServer::Sockets::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Sockets& sockets, tcp::socket socket)
      : sockets_(sockets.weak_from_this()),
        socket_(std::move(socket)),
        limit_(socket_.get_executor()) {}

  void read_length() {
    limit_.expires_after(kConnectionLimit);
    limit_.async_wait([self = shared_from_this()](ErrorCodeOfAsio error) {
      if (!error) self->end();
    });
    boost::asio::async_read(socket_, boost::asio::buffer(length_),
                            [self = shared_from_this()](ErrorCodeOfAsio error, std::size_t) {
                              if (error) return self->end();
                              self->read_question_bytes();
                            });
  }

  void close() {
    ErrorCodeOfAsio ignored;
    socket_.close(ignored);
    limit_.cancel();
  }

 private:
  void read_question_bytes() {
    const auto size = static_cast<std::size_t>(length_[0] << 8 | length_[1]);
    if (size > kMostQuestionBytes) return end();
    message_.resize(size);
    boost::asio::async_read(socket_, boost::asio::buffer(message_),
                            [self = shared_from_this()](ErrorCodeOfAsio error, std::size_t) {
                              if (error) return self->end();
                              self->ask();
                            });
  }

  void ask() {
    const auto question = read_question(message_);
    const auto sockets = sockets_.lock();
    if (!question || !sockets || sockets->is_busy()) return end();
    sockets->ask(*question, [self = shared_from_this()](std::string answer) {
      self->write(std::move(answer));
    });
  }

  void write(std::string answer) {
    message_ = {static_cast<char>(answer.size() >> 8), static_cast<char>(answer.size() & 0xff)};
    message_ += answer;
    boost::asio::async_write(socket_, boost::asio::buffer(message_),
                             [self = shared_from_this()](ErrorCodeOfAsio error, std::size_t) {
                               const auto sockets = self->sockets_.lock();
                               if (error || !sockets) return self->end();
                               sockets->in_turn([self] { self->read_length(); });
                             });
  }

  void end() {
    close();
    if (const auto sockets = sockets_.lock()) sockets->open_.erase(shared_from_this());
  }

  std::weak_ptr<Sockets> sockets_;
  tcp::socket socket_;
  boost::asio::steady_timer limit_;
  std::array<std::uint8_t, 2> length_;
  std::string message_;
};

void DnsServer::Sockets::accept() {
  connections_.async_accept([self = shared_from_this()](ErrorCodeOfAsio error, tcp::socket socket) {
    if (!self->connections_.is_open()) return;
    if (error) return self->accept_later();
    if (self->open_.size() < kMostConnections) {
      const auto connection = std::make_shared<Connection>(*self, std::move(socket));
      self->open_.insert(connection);
      connection->read_length();
    }
    self->in_turn([sockets = self.get()] { sockets->accept(); });
  });
}

void DnsServer::Sockets::close() {
  ErrorCodeOfAsio ignored;
  datagrams_.close(ignored);
  connections_.close(ignored);
  pause_.cancel();
  for (const auto& connection : std::exchange(open_, {})) connection->close();
}

DnsServer::DnsServer(boost::asio::io_context& loop, UniqueFd datagrams, UniqueFd connections,
                     OnQuestion on_question)
    : sockets_(std::make_shared<Sockets>(loop, std::move(datagrams), std::move(connections),
                                         std::move(on_question))) {
  sockets_->begin();
}

DnsServer::~DnsServer() { sockets_->close(); }

}  // namespace ember
