#include "node/dns_asker.h"

#include <sys/random.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "base/assert.h"
#include "node/name_servers.h"

namespace ember {
namespace {

using boost::asio::ip::tcp;
using boost::asio::ip::udp;
using ErrorCodeOfAsio = boost::system::error_code;

constexpr std::uint16_t kNamesPort = 53;
constexpr std::size_t kTries = 2;
// Together they take less than the 5 s after which a resolver asks again.
constexpr std::chrono::seconds kTryLimit{2};
constexpr std::size_t kMostDatagramBytes = 4096;

std::uint16_t random_id() {
  std::uint16_t id = 0;
  EMBER_ASSERT(::getrandom(&id, sizeof(id), 0) == sizeof(id));
  return id;
}

// One question, kept by what it waits for.
class Asking : public std::enable_shared_from_this<Asking> {
 public:
  Asking(boost::asio::io_context& loop, std::vector<udp::endpoint> servers, DnsQuestion question,
         std::function<void(std::optional<DnsAnswer>)> done)
      : servers_(std::move(servers)),
        question_(std::move(question)),
        done_(std::move(done)),
        datagrams_(loop),
        connection_(loop),
        limit_(loop) {}

  void begin() {
    if (servers_.empty()) return end(std::nullopt);
    try_next();
  }

 private:
  // Of what an earlier try waits for nothing comes: its sockets are closed.
  void try_next() {
    close();
    if (tries_ == kTries) return end(std::nullopt);
    server_ = servers_[tries_++ % servers_.size()];
    id_ = random_id();
    limit_.expires_after(kTryLimit);
    limit_.async_wait([self = shared_from_this()](ErrorCodeOfAsio error) {
      if (!error) self->try_next();
    });
    ask_by_datagram();
  }

  void ask_by_datagram() {
    ErrorCodeOfAsio error;
    datagrams_.open(udp::v4(), error);
    if (!error) datagrams_.connect(server_, error);
    const std::string asked = write_question(question_, id_);
    if (!error) datagrams_.send(boost::asio::buffer(asked), 0, error);
    if (!error) receive();
  }

  // What is no answer to the question is passed over: somebody else may have sent it.
  void receive() {
    datagrams_.async_receive(boost::asio::buffer(datagram_),
                             [self = shared_from_this()](ErrorCodeOfAsio error, std::size_t size) {
                               if (error == boost::asio::error::operation_aborted) return;
                               if (error) return self->try_next();
                               self->received(std::string_view(self->datagram_.data(), size));
                             });
  }

  void received(std::string_view message) {
    auto answer = read_answer(message, question_, id_);
    if (!answer) return receive();
    if (answer->truncated) return ask_by_connection();
    end(std::move(answer));
  }

  void ask_by_connection() {
    ErrorCodeOfAsio ignored;
    datagrams_.close(ignored);
    connection_.async_connect({server_.address(), server_.port()},
                              [self = shared_from_this()](ErrorCodeOfAsio error) {
                                if (!error) self->send_by_connection();
                              });
  }

  void send_by_connection() {
    const std::string asked = write_question(question_, id_);
    long_message_ = {static_cast<char>(asked.size() >> 8), static_cast<char>(asked.size() & 0xff)};
    long_message_ += asked;
    boost::asio::async_write(connection_, boost::asio::buffer(long_message_),
                             [self = shared_from_this()](ErrorCodeOfAsio error, std::size_t) {
                               if (!error) self->read_length();
                             });
  }

  void read_length() {
    boost::asio::async_read(connection_, boost::asio::buffer(length_),
                            [self = shared_from_this()](ErrorCodeOfAsio error, std::size_t) {
                              if (!error) self->read_long_message();
                            });
  }

  void read_long_message() {
    long_message_.resize(static_cast<std::size_t>(length_[0] << 8 | length_[1]));
    boost::asio::async_read(connection_, boost::asio::buffer(long_message_),
                            [self = shared_from_this()](ErrorCodeOfAsio error, std::size_t) {
                              if (!error) self->received_long_message();
                            });
  }

  void received_long_message() {
    auto answer = read_answer(long_message_, question_, id_);
    if (answer && !answer->truncated) return end(std::move(answer));
    try_next();
  }

  void close() {
    ErrorCodeOfAsio ignored;
    datagrams_.close(ignored);
    connection_.close(ignored);
    limit_.cancel();
  }

  void end(std::optional<DnsAnswer> answer) {
    close();
    if (done_) std::exchange(done_, nullptr)(std::move(answer));
  }

  const std::vector<udp::endpoint> servers_;
  const DnsQuestion question_;
  std::function<void(std::optional<DnsAnswer>)> done_;
  udp::socket datagrams_;
  tcp::socket connection_;
  boost::asio::steady_timer limit_;  // of the try
  std::size_t tries_ = 0;
  udp::endpoint server_;
  std::uint16_t id_ = 0;
  std::array<char, kMostDatagramBytes> datagram_;
  std::array<std::uint8_t, 2> length_;
  std::string long_message_;
};

}  // namespace

std::vector<udp::endpoint> machine_name_servers() {
  std::vector<udp::endpoint> all;
  for (const Ipv4Network& server : name_servers()) {
    all.emplace_back(boost::asio::ip::address_v4(server.address), kNamesPort);
  }
  return all;
}

void ask_name_servers(boost::asio::io_context& loop, const DnsServers& servers,
                      DnsQuestion question, std::function<void(std::optional<DnsAnswer>)> done) {
  const auto asking =
      std::make_shared<Asking>(loop, servers(), std::move(question), std::move(done));
  boost::asio::post(loop, [asking] { asking->begin(); });
}

}  // namespace ember
