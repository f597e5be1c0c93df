#include "gateway/webhook_client.h"

#include <netdb.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <charconv>
#include <chrono>
#include <cstring>
#include <ctime>
#include <exception>
#include <optional>
#include <utility>

namespace ember {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Addresses = WebhookClientOptions::Addresses;

constexpr std::size_t kLookUpThreads = 32;  // a name server that hangs keeps one
constexpr std::uint32_t kMaxHeadBytes = 16u << 10;
constexpr std::uint64_t kMaxBodyBytes = 4096;
constexpr std::size_t kShownBytes = 200;
constexpr int kMostInterimAnswers = 4;
constexpr std::size_t kMostAddresses = 8;

Error unreachable(std::string message) { return {ErrorCode::unavailable, std::move(message)}; }

IpAddress address_of(const sockaddr* given) {
  IpAddress address;
  if (given->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(given);
    std::memcpy(address.bytes.data(), &v4->sin_addr, sizeof v4->sin_addr);
  } else {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(given);
    address.family = IpAddress::Family::v6;
    std::memcpy(address.bytes.data(), &v6->sin6_addr, sizeof v6->sin6_addr);
  }
  return address;
}

asio::ip::address to_asio(const IpAddress& address) {
  if (address.family == IpAddress::Family::v6) return asio::ip::address_v6(address.bytes);
  asio::ip::address_v4::bytes_type v4{};
  std::copy_n(address.bytes.begin(), v4.size(), v4.begin());
  return asio::ip::address_v4(v4);
}

Addresses ask_name_servers(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int status = ::getaddrinfo(name.c_str(), nullptr, &hints, &found); status != 0) {
    return unreachable("the name " + name + " has no address: " + ::gai_strerror(status));
  }
  std::vector<IpAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
    addresses.push_back(address_of(one->ai_addr));
  }
  ::freeaddrinfo(found);
  return addresses;
}

// Seconds, or a date of HTTP; zero for anything else.
Duration retry_after_of(std::string_view text, Time now) {
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size()) {
    std::tm date{};
    const char* rest = ::strptime(std::string(text).c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
    seconds = rest == nullptr ? 0 : ::timegm(&date) - now.us / 1'000'000;
  }
  constexpr std::int64_t kMostSeconds = 1'000'000;
  return Duration::seconds(std::clamp<std::int64_t>(seconds, 0, kMostSeconds));
}

// A stranger's text as one line that no terminal takes for a command.
std::string shown(std::string_view text) {
  std::string line(text.substr(0, kShownBytes));
  std::ranges::replace_if(
      line, [](char c) { return c < ' ' || c > '~'; }, ' ');
  return line;
}

class Client;

// One request, from the name of its receiver to the answer. Its handlers share it.
class Delivery : public std::enable_shared_from_this<Delivery> {
 public:
  Delivery(Client& client, WebhookPost post, std::function<void(Result<WebhookReply>)> done);

  void begin();

 private:
  void look_up();
  void take(Addresses addresses);
  void dial();
  void shake_hands();
  void send();
  void receive();
  void received();
  // The socket, or what TLS makes of it.
  template <class Use>
  void with_stream(Use use) {
    post_.url.is_tls ? use(stream_) : use(stream_.next_layer());
  }
  std::string place() const { return text_of(open_[dialled_ - 1]); }
  std::string text_of(const IpAddress& address) const { return to_asio(address).to_string(); }
  bool is_over() const { return done_ == nullptr; }
  void finish(Result<WebhookReply> reply);
  void out_of_time();

  Client& client_;
  const WebhookPost post_;
  std::function<void(Result<WebhookReply>)> done_;
  asio::steady_timer timer_;
  asio::ssl::stream<tcp::socket> stream_;
  std::vector<IpAddress> open_;  // that may be dialled
  std::size_t dialled_ = 0;
  std::string request_;
  boost::beast::flat_buffer buffer_{kMaxHeadBytes + kMaxBodyBytes};
  std::optional<http::response_parser<http::string_body>> parser_;
  int interim_answers_ = 0;
};

class Client final : public WebhookSender {
 public:
  Client(asio::io_context& given_loop, WebhookClientOptions given_options)
      : loop(given_loop), options(std::move(given_options)) {
    if (!options.look_up) options.look_up = ask_name_servers;
    error_code ignored;  // without authorities nobody is trusted
    tls.set_default_verify_paths(ignored);
    tls.set_verify_mode(asio::ssl::verify_peer, ignored);
    tls.set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1, ignored);
  }
  ~Client() override {
    if (!threads_) return;
    threads_->stop();
    threads_->join();
  }

  void post(WebhookPost post, std::function<void(Result<WebhookReply>)> done) override {
    const auto delivery = std::make_shared<Delivery>(*this, std::move(post), std::move(done));
    asio::post(loop, [delivery] { delivery->begin(); });
  }

  // A server without webhooks has none. Null where the machine gives no more threads.
  asio::thread_pool* threads() {
    try {
      if (!threads_) threads_ = std::make_unique<asio::thread_pool>(kLookUpThreads);
    } catch (const std::exception&) {
      return nullptr;
    }
    return threads_.get();
  }

  asio::io_context& loop;
  WebhookClientOptions options;
  asio::ssl::context tls{asio::ssl::context::tls_client};

 private:
  std::unique_ptr<asio::thread_pool> threads_;
};

Delivery::Delivery(Client& client, WebhookPost post, std::function<void(Result<WebhookReply>)> done)
    : client_(client),
      post_(std::move(post)),
      done_(std::move(done)),
      timer_(client.loop),
      stream_(client.loop, client.tls) {}

void Delivery::begin() {
  timer_.expires_after(std::chrono::microseconds(client_.options.time_limit.us));
  timer_.async_wait([self = shared_from_this()](error_code error) {
    if (!error) self->out_of_time();
  });
  if (const auto address = parse_ip_address(post_.url.host)) return take(std::vector{*address});
  look_up();
}

void Delivery::look_up() {
  asio::thread_pool* threads = client_.threads();
  if (threads == nullptr)
    return finish(unreachable("this machine gives no threads to look up names"));
  // The thread lets go of it before the loop has it again.
  asio::post(*threads, [self = shared_from_this(), &client = client_]() mutable {
    Addresses found = client.options.look_up(self->post_.url.host);
    asio::post(client.loop, [self = std::move(self), found = std::move(found)]() mutable {
      self->take(std::move(found));
    });
  });
}

void Delivery::take(Addresses addresses) {
  if (is_over()) return;
  if (!addresses) return finish(std::move(addresses).error());
  std::string closed = " has no address";
  for (const IpAddress& address : *addresses) {
    const std::string_view range = closed_range_of(address, client_.options.allowed);
    if (range.empty()) {
      open_.push_back(address);
    } else {
      closed = " is " + text_of(address) + ", " + std::string(range);
      closed += ": webhooks go to the public internet alone";
    }
  }
  if (open_.empty()) return finish(unreachable(post_.url.host + closed));
  open_.resize(std::min(open_.size(), kMostAddresses));
  dial();
}

void Delivery::dial() {
  const IpAddress address = open_[dialled_++];
  if (client_.options.on_dial) client_.options.on_dial(address);
  error_code ignored;
  stream_.next_layer().close(ignored);
  stream_.next_layer().async_connect(
      {to_asio(address), post_.url.port}, [self = shared_from_this()](error_code error) {
        if (self->is_over()) return;
        if (!error) return self->shake_hands();
        if (self->dialled_ < self->open_.size()) return self->dial();
        self->finish(unreachable("cannot connect to " + self->place() + ": " + error.message()));
      });
}

void Delivery::shake_hands() {
  if (!post_.url.is_tls) return send();
  const std::string& host = post_.url.host;
  error_code refused;
  stream_.set_verify_callback(asio::ssl::host_name_verification(host), refused);
  if (!parse_ip_address(host)) ::SSL_set_tlsext_host_name(stream_.native_handle(), host.c_str());
  stream_.async_handshake(
      asio::ssl::stream_base::client, [self = shared_from_this()](error_code error) {
        if (self->is_over()) return;
        if (!error) return self->send();
        self->finish(unreachable("no TLS with " + self->post_.url.host + ": " + error.message()));
      });
}

void Delivery::send() {
  request_ = "POST " + post_.url.target + " HTTP/1.1\r\nHost: " + post_.url.authority;
  request_ += "\r\nUser-Agent: Ember\r\nContent-Type: application/json\r\nContent-Length: ";
  request_ += std::to_string(post_.body.size()) + "\r\nConnection: close\r\n" + post_.headers;
  request_ += "\r\n" + post_.body;
  with_stream([this](auto& stream) {
    asio::async_write(
        stream, asio::buffer(request_), [self = shared_from_this()](error_code error, std::size_t) {
          if (self->is_over()) return;
          if (!error) return self->receive();
          self->finish(
              unreachable(self->place() + " did not take the request: " + error.message()));
        });
  });
}

void Delivery::receive() {
  parser_.emplace();
  parser_->header_limit(kMaxHeadBytes);
  parser_->body_limit(kMaxBodyBytes);
  with_stream([this](auto& stream) {
    http::async_read(
        stream, buffer_, *parser_, [self = shared_from_this()](error_code error, std::size_t) {
          if (self->is_over()) return;
          // An answer is one as soon as its head is whole.
          if (!error || self->parser_->is_header_done()) return self->received();
          self->finish(unreachable(self->place() + " gave no answer: " + error.message()));
        });
  });
}

void Delivery::received() {
  const auto& message = parser_->get();
  const int status = static_cast<int>(message.result_int());
  if (status < 200 && ++interim_answers_ <= kMostInterimAnswers) return receive();
  const auto retry_after = message[http::field::retry_after];
  const Time now = client_.options.wall_clock();
  finish(WebhookReply{{status, retry_after_of({retry_after.data(), retry_after.size()}, now)},
                      status < 300 ? std::string() : shown(message.body())});
}

void Delivery::out_of_time() {
  if (is_over()) return;
  if (parser_ && parser_->is_header_done() && parser_->get().result_int() >= 200) {
    return received();
  }
  const std::int64_t seconds = client_.options.time_limit.us / 1'000'000;
  finish(unreachable("no answer within " + std::to_string(seconds) + " s"));
}

void Delivery::finish(Result<WebhookReply> reply) {
  timer_.cancel();
  error_code ignored;
  stream_.next_layer().close(ignored);
  std::exchange(done_, nullptr)(std::move(reply));
}

}  // namespace

std::unique_ptr<WebhookSender> make_webhook_client(asio::io_context& loop,
                                                   WebhookClientOptions options) {
  return std::make_unique<Client>(loop, std::move(options));
}

}  // namespace ember
