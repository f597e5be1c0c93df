// Webhooks on their way to receivers that may be anything: real sockets, names of the test's own.
#include "gateway/webhook_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <future>
#include <optional>

namespace ember {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr Time kNow{1'764'072'000'000'000};  // 2025-11-25 12:00 UTC

Time noon() { return kNow; }

// Listens on 127.0.0.1; says what it is told to after each request, and keeps what came.
class Receiver {
 public:
  Receiver(asio::io_context& loop, std::string answer)
      : answer_(std::move(answer)),
        acceptor_(loop, {asio::ip::address_v4::loopback(), 0}),
        drip_(loop) {
    accept();
  }
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

  std::vector<std::string> requests;
  bool closes = true;  // after its answer
  bool drips = false;  // its answer, again and again, a byte at a time
  int connections = 0;

 private:
  struct Connection {
    explicit Connection(tcp::socket given) : socket(std::move(given)) {}
    tcp::socket socket;
    std::string received;
    std::size_t said = 0;
  };
  using Shared = std::shared_ptr<Connection>;

  void accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (error) return;
      ++connections;
      auto connection = std::make_shared<Connection>(std::move(socket));
      all_.push_back(connection);
      read(connection);
      accept();
    });
  }
  void read(const Shared& connection) {
    asio::async_read_until(connection->socket, asio::dynamic_buffer(connection->received), "}",
                           [this, connection](error_code error, std::size_t) {
                             if (error) return;
                             requests.push_back(connection->received);
                             drips ? drip(connection) : answer(connection);
                           });
  }
  void answer(const Shared& connection) {
    asio::async_write(connection->socket, asio::buffer(answer_),
                      [this, connection](error_code, std::size_t) {
                        error_code ignored;
                        if (closes) connection->socket.close(ignored);
                      });
  }
  void drip(const Shared& connection) {
    const char& next = answer_[connection->said++ % answer_.size()];
    asio::async_write(connection->socket, asio::buffer(&next, 1),
                      [this, connection](error_code error, std::size_t) {
                        if (error) return;
                        drip_.expires_after(std::chrono::milliseconds(5));
                        drip_.async_wait([this, connection](error_code) { drip(connection); });
                      });
  }

  const std::string answer_;
  tcp::acceptor acceptor_;
  asio::steady_timer drip_;
  std::vector<Shared> all_;
};

class WebhookClientTest : public testing::Test {
 protected:
  WebhookClientTest() {
    options.wall_clock = noon;
    options.allowed = {*parse_ip_network("127.0.0.0/8")};
    options.on_dial = [this](const IpAddress& address) { dialled.push_back(address); };
    options.look_up = [this](const std::string& name) {
      looked_up.push_back(name);
      return addresses;
    };
  }

  Result<WebhookReply> post(const std::string& url) {
    const auto client = make_webhook_client(loop, options);
    std::optional<Result<WebhookReply>> reply;
    client->post({*parse_webhook_url(url), "webhook-id: wh-1\r\n", R"({"type": "call.failed"})"},
                 [&](Result<WebhookReply> given) {
                   EXPECT_FALSE(reply) << "answered twice";
                   reply = std::move(given);
                 });
    EXPECT_FALSE(reply) << "answered before it returned";
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!reply && std::chrono::steady_clock::now() < deadline) {
      loop.restart();
      loop.run_one_for(std::chrono::milliseconds(10));
    }
    return reply ? std::move(*reply) : Result<WebhookReply>(ErrorCode::internal, "no answer");
  }
  Result<WebhookReply> post_to(const Receiver& receiver) {
    return post("http://127.0.0.1:" + std::to_string(receiver.port()) + "/in?x=1");
  }
  std::string failure_of(const std::string& url) {
    const auto reply = post(url);
    EXPECT_FALSE(reply.ok());
    return reply.ok() ? "" : reply.error().message;
  }
  static WebhookClientOptions::Addresses some(std::initializer_list<const char*> texts) {
    std::vector<IpAddress> all;
    for (const char* text : texts) all.push_back(*parse_ip_address(text));
    return all;
  }

  asio::io_context loop;
  WebhookClientOptions options;
  WebhookClientOptions::Addresses addresses = some({});
  std::vector<std::string> looked_up;
  std::vector<IpAddress> dialled;
};

TEST_F(WebhookClientTest, PostsTheBodyAndTellsOfTheAnswer) {
  Receiver receiver(loop, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
  const auto reply = post_to(receiver);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->answer.status, 201);
  EXPECT_EQ(reply->answer.retry_after, Duration{});
  const std::string port = std::to_string(receiver.port());
  EXPECT_THAT(receiver.requests,
              ElementsAre("POST /in?x=1 HTTP/1.1\r\nHost: 127.0.0.1:" + port +
                          "\r\nUser-Agent: Ember\r\nContent-Type: application/json\r\n"
                          "Content-Length: 23\r\nConnection: close\r\nwebhook-id: wh-1\r\n\r\n"
                          "{\"type\": \"call.failed\"}"));
}

TEST_F(WebhookClientTest, FollowsNoRedirect) {
  Receiver other(loop, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  Receiver receiver(loop, "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:" +
                              std::to_string(other.port()) + "/\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(post_to(receiver)->answer.status, 307);
  EXPECT_EQ(dialled.size(), 1u);
  EXPECT_EQ(other.connections, 0);
}

TEST_F(WebhookClientTest, ReadsHowLongItIsToWait) {
  const auto asked = [this](const std::string& value) {
    Receiver receiver(
        loop, "HTTP/1.1 503 Busy\r\nRetry-After: " + value + "\r\nContent-Length: 0\r\n\r\n");
    return post_to(receiver)->answer.retry_after;
  };
  EXPECT_EQ(asked("120"), Duration::seconds(120));
  EXPECT_EQ(asked("Tue, 25 Nov 2025 12:01:30 GMT"), Duration::seconds(90));
  EXPECT_EQ(asked("Tue, 25 Nov 2025 11:59:00 GMT"), Duration{});
  EXPECT_EQ(asked("-5"), Duration{});
  EXPECT_EQ(asked("soon"), Duration{});
  EXPECT_EQ(asked("99999999999999999999"), Duration{});
}

TEST_F(WebhookClientTest, ShowsWhatARefusalSaysAsOnePlainLine) {
  Receiver receiver(loop, "HTTP/1.1 500 No\r\nContent-Length: 12\r\n\r\nno\r\n\x1b[31mred\t");
  const auto reply = post_to(receiver);
  EXPECT_EQ(reply->answer.status, 500);
  EXPECT_EQ(reply->text, "no   [31mred");
}

TEST_F(WebhookClientTest, GivesUpOnAReceiverThatHangs) {
  options.time_limit = Duration::milliseconds(100);
  Receiver receiver(loop, "");
  receiver.closes = false;
  EXPECT_THAT(post_to(receiver).error().message, HasSubstr("no answer within"));
}

TEST_F(WebhookClientTest, GivesUpOnAReceiverThatDrips) {
  options.time_limit = Duration::milliseconds(200);
  Receiver receiver(loop, "HTTP/1.1 200 OK");
  receiver.drips = true;
  EXPECT_FALSE(post_to(receiver).ok());
}

TEST_F(WebhookClientTest, NeedsNoMoreThanTheHeadOfAnAnswer) {
  options.time_limit = Duration::milliseconds(200);
  Receiver hangs(loop, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow");
  hangs.closes = false;
  EXPECT_EQ(post_to(hangs)->answer.status, 200);
  Receiver large(loop,
                 "HTTP/1.1 410 Gone\r\nContent-Length: 99999\r\n\r\n" + std::string(99'999, 'x'));
  EXPECT_EQ(post_to(large)->answer.status, 410);
  Receiver cut(loop, "HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(post_to(cut)->answer.status, 204);
}

TEST_F(WebhookClientTest, PassesOverInterimAnswers) {
  Receiver receiver(loop,
                    "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(post_to(receiver)->answer.status, 200);
}

TEST_F(WebhookClientTest, TakesForNoAnswerWhatIsNone) {
  for (const std::string& answer :
       {std::string("220 mail.example.org ESMTP\r\n"), std::string("HTTP/1.1 200"),
        "HTTP/1.1 200 OK\r\nX: " + std::string(40'000, 'x') + "\r\n\r\n", std::string()}) {
    Receiver receiver(loop, answer);
    const auto reply = post_to(receiver);
    ASSERT_FALSE(reply.ok()) << answer.substr(0, 40);
    EXPECT_THAT(reply.error().message, HasSubstr("gave no answer"));
  }
}

TEST_F(WebhookClientTest, SaysThatNobodyListens) {
  std::optional<Receiver> receiver(std::in_place, loop, "");
  const std::string url = "http://127.0.0.1:" + std::to_string(receiver->port()) + "/";
  receiver.reset();
  EXPECT_THAT(failure_of(url), HasSubstr("cannot connect to 127.0.0.1: Connection refused"));
}

TEST_F(WebhookClientTest, ShakesHandsWithNobodyWhoSpeaksNoTls) {
  Receiver receiver(loop, "HTTP/1.1 200 OK\r\n\r\n");
  options.time_limit = Duration::milliseconds(300);
  EXPECT_FALSE(post("https://127.0.0.1:" + std::to_string(receiver.port()) + "/").ok());
  EXPECT_THAT(receiver.requests, Each(Not(HasSubstr("POST"))));
}

// --- where it goes ---

TEST_F(WebhookClientTest, DialsNoClosedAddressWhateverNameLeadsThere) {
  options.allowed.clear();
  for (const char* text : {"0.0.0.0",
                           "10.1.2.3",
                           "100.64.0.1",
                           "100.100.100.200",
                           "127.0.0.1",
                           "168.63.129.16",
                           "169.254.169.254",
                           "172.16.0.1",
                           "192.0.0.192",
                           "192.168.1.1",
                           "198.18.0.1",
                           "224.0.0.251",
                           "255.255.255.255",
                           "::",
                           "::1",
                           "::ffff:127.0.0.1",
                           "::ffff:169.254.169.254",
                           "64:ff9b::a9fe:a9fe",
                           "2002:7f00:1::",
                           "2001::1",
                           "fd00:ec2::254",
                           "fe80::1",
                           "ff02::fb"}) {
    addresses = some({text});
    EXPECT_THAT(failure_of("http://rebinds.example.org/"), HasSubstr("the public internet alone"))
        << text;
  }
  EXPECT_THAT(dialled, IsEmpty());
}

TEST_F(WebhookClientTest, DialsNoClosedAddressThatIsWrittenInTheUrl) {
  options.allowed.clear();
  for (const char* url : {"http://127.0.0.1:9000/", "http://[::1]:8080/", "http://169.254.169.254/",
                          "http://[::ffff:127.0.0.1]/", "https://10.0.0.1/"}) {
    EXPECT_THAT(failure_of(url), HasSubstr("the public internet alone")) << url;
  }
  EXPECT_THAT(dialled, IsEmpty());
  EXPECT_THAT(looked_up, IsEmpty());
}

TEST_F(WebhookClientTest, DialsTheAddressThatItHasChecked) {
  Receiver receiver(loop, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  addresses = some({"10.0.0.1", "::1", "127.0.0.1"});
  const auto reply = post("http://rebinds.example.org:" + std::to_string(receiver.port()) + "/");
  ASSERT_TRUE(reply.ok());
  EXPECT_THAT(dialled, ElementsAre(*parse_ip_address("127.0.0.1")));
  EXPECT_THAT(looked_up, ElementsAre("rebinds.example.org"));
  EXPECT_THAT(receiver.requests[0], HasSubstr("\r\nHost: rebinds.example.org:"));
}

TEST_F(WebhookClientTest, TriesTheNextAddressWhereNobodyListensAtTheFirst) {
  Receiver receiver(loop, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  addresses = some({"127.0.0.77", "127.0.0.1"});
  EXPECT_TRUE(post("http://two.example.org:" + std::to_string(receiver.port()) + "/").ok());
  EXPECT_EQ(dialled.size(), 2u);
}

TEST_F(WebhookClientTest, SaysThatANameHasNoAddress) {
  addresses = Error{ErrorCode::unavailable, "the name nowhere.example.org has no address"};
  EXPECT_EQ(failure_of("http://nowhere.example.org/"),
            "the name nowhere.example.org has no address");
  addresses = some({});
  EXPECT_EQ(failure_of("http://nowhere.example.org/"), "nowhere.example.org has no address");
}

TEST_F(WebhookClientTest, WaitsForNoNameServerThatHangs) {
  std::promise<void> answers;
  options.time_limit = Duration::milliseconds(100);
  options.look_up = [&, released = answers.get_future().share()](const std::string&) {
    released.wait();
    return some({"127.0.0.1"});
  };
  const auto client = make_webhook_client(loop, options);
  std::optional<Result<WebhookReply>> reply;
  client->post({*parse_webhook_url("http://slow.example.org/"), "", "{}"},
               [&](Result<WebhookReply> given) { reply = std::move(given); });
  while (!reply) loop.run_one_for(std::chrono::milliseconds(10));
  EXPECT_THAT(reply->error().message, HasSubstr("no answer within"));
  answers.set_value();
  loop.restart();
  loop.run_for(std::chrono::milliseconds(50));
  EXPECT_THAT(dialled, IsEmpty());
}

TEST_F(WebhookClientTest, AnswersNobodyOnceItIsGone) {
  Receiver receiver(loop, "");
  receiver.closes = false;
  auto client = make_webhook_client(loop, options);
  client->post(
      {*parse_webhook_url("http://127.0.0.1:" + std::to_string(receiver.port()) + "/"), "", "{}"},
      [](Result<WebhookReply>) { FAIL(); });
  loop.run_for(std::chrono::milliseconds(50));
  client.reset();
}

}  // namespace
}  // namespace ember
