// For the gateway's tests: a server with a fake Control, and raw clients on real sockets. Server
// and clients share one thread: whoever waits for bytes turns the server's loop meanwhile.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/fake_control.h"
#include "gateway/server.h"

namespace ember {

struct ClientResponse {
  int status = 0;
  std::string head;  // lines after the first, each with CRLF
  std::string body;  // decoded

  // The value of a field; "" if it is not there.
  std::string field(const std::string& name) const {
    const std::size_t at = ("\r\n" + head).find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const std::size_t start = at + name.size() + 2;
    return head.substr(start, head.find("\r\n", start) - start);
  }
};

class TestClient {
 public:
  TestClient(boost::asio::io_context& loop, std::uint16_t port) : loop_(loop) {
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  TestClient(TestClient&& other) noexcept
      : loop_(other.loop_),
        socket_(std::exchange(other.socket_, -1)),
        received_(std::move(other.received_)) {}
  ~TestClient() { hang_up(); }

  void hang_up() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }
  int socket() const { return socket_; }

  // Sends all of it, turning the loop while the socket is full. False if the server closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count =
          ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
      if (count < 0 && errno != EAGAIN) return false;
      loop_.poll();
    }
    return true;
  }

  // The next whole response; status 0 if the server closed first.
  ClientResponse read(bool body_follows = true) {
    ClientResponse response;
    if (!wait([this] { return received_.find("\r\n\r\n") != std::string::npos; })) return response;
    const std::size_t end = received_.find("\r\n\r\n");
    const std::size_t line = received_.find("\r\n");
    response.status = std::stoi(received_.substr(9, 3));
    response.head = received_.substr(line + 2, end - line);
    received_.erase(0, end + 4);
    if (!body_follows || response.status == 100) return response;
    if (const std::string length = response.field("Content-Length"); !length.empty()) {
      response.body = take(std::stoul(length));
    }
    return response;
  }

  // The next chunk's content; "" for the last.
  std::string read_chunk() {
    if (!wait([this] { return received_.find("\r\n") != std::string::npos; })) return "closed";
    const std::size_t line = received_.find("\r\n");
    const std::size_t size = std::stoul(received_.substr(0, line), nullptr, 16);
    received_.erase(0, line + 2);
    std::string content = take(size);
    EXPECT_EQ(take(2), "\r\n");
    return content;
  }

  // So many bytes as they come.
  std::string read_raw(std::size_t size) { return take(size); }

  bool closed_by_server() {
    wait([] { return false; });
    return closed_ && received_.empty();
  }

  // Turns the loop until the predicate holds. False if the server closed, or after 20 s.
  bool wait(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!done()) {
      if (closed_ || std::chrono::steady_clock::now() > deadline) return false;
      loop_.poll();
      receive();
    }
    return true;
  }

 private:
  void receive() {
    pollfd ready{socket_, POLLIN, 0};
    if (::poll(&ready, 1, 1) == 0) return;
    char buffer[64 << 10];
    const ssize_t count = ::recv(socket_, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count > 0) received_.append(buffer, static_cast<std::size_t>(count));
    if (count == 0 || (count < 0 && errno != EAGAIN)) closed_ = true;
  }

  std::string take(std::size_t size) {
    wait([&] { return received_.size() >= size; });
    std::string bytes = received_.substr(0, size);
    received_.erase(0, size);
    return bytes;
  }

  boost::asio::io_context& loop_;
  int socket_ = -1;
  bool closed_ = false;
  std::string received_;
};

inline Time test_wall_clock() { return Time::from_ms(1'700'000'000'000); }

class GatewayTest : public ::testing::Test {
 protected:
  GatewayTest() {
    options.address = "127.0.0.1";
    options.port = 0;
    options.wall_clock = test_wall_clock;
  }

  // Starts the server on first use, so that a test may change `options` before.
  Server& server() {
    if (!server_) {
      auto result = Server::listen(loop, control, options);
      EXPECT_TRUE(result.ok());
      server_ = std::move(result).value();
    }
    return *server_;
  }
  TestClient connect() { return TestClient(loop, server().port()); }

  // A request with the good key; `extra` are further header lines.
  static std::string request(std::string_view method, std::string_view target,
                             std::string_view body = {}, std::string_view extra = {}) {
    std::string text = std::string(method) + " " + std::string(target) + " HTTP/1.1\r\n";
    text.append("Host: localhost\r\nAuthorization: Bearer ek-good\r\n").append(extra);
    if (!body.empty()) text.append("Content-Length: " + std::to_string(body.size()) + "\r\n");
    return text.append("\r\n").append(body);
  }

  ClientResponse ask(std::string_view method, std::string_view target, std::string_view body = {},
                     std::string_view extra = {}) {
    TestClient client = connect();
    EXPECT_TRUE(client.send(request(method, target, body, extra)));
    return client.read(method != "HEAD");
  }

  // Turns the loop until `done`, without any client.
  bool turn_until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      loop.run_one_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  void tick(int seconds) {
    for (int i = 0; i < seconds; ++i) server().tick();
  }

  boost::asio::io_context loop{1};
  FakeControl control;
  ServerOptions options;

 private:
  std::unique_ptr<Server> server_;
};

}  // namespace ember
