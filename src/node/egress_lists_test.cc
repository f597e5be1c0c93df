// Containers with a list of destinations: what they reach, and what they do not however they try.
#include "node/egress_lists.h"

#include <arpa/nameser.h>
#include <net/if.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <map>
#include <optional>

#include "node/listed_routes.h"
#include "node/network_fixture.h"
#include "node/veth_pair.h"

namespace ember {
namespace {

using boost::asio::ip::tcp;
using boost::asio::ip::udp;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kNeighbour = "203.0.113.3";
constexpr const char* kListed = "203.0.114.1";    // somebody outside, by a listed name
constexpr const char* kUnlisted = "203.0.115.1";  // somebody outside

// The machine's name server: knows names, counts questions. By datagram it gives up to 20
// addresses.
class FakeNames {
 public:
  explicit FakeNames(boost::asio::io_context& loop)
      : datagrams_(loop, {boost::asio::ip::address_v4::loopback(), 0}),
        connections_(
            loop, {boost::asio::ip::address_v4::loopback(), datagrams_.local_endpoint().port()}) {
    receive();
    accept();
  }

  std::vector<udp::endpoint> at() const { return {datagrams_.local_endpoint()}; }

  std::map<std::string, std::vector<std::string>> addresses;  // by name
  std::vector<std::string> asked;

 private:
  static constexpr std::size_t kMostByDatagram = 20;

  void receive() {
    datagrams_.async_receive_from(
        boost::asio::buffer(bytes_), from_, [this](auto error, std::size_t size) {
          if (error) return;
          datagrams_.send_to(boost::asio::buffer(answer({bytes_, size}, kMostByDatagram)), from_);
          receive();
        });
  }
  void accept() {
    connections_.async_accept([this](auto error, tcp::socket socket) {
      if (error) return;
      char bytes[512];
      boost::asio::read(socket, boost::asio::buffer(bytes, 2));
      const auto size = static_cast<std::size_t>(bytes[0] << 8 | bytes[1]);
      boost::asio::read(socket, boost::asio::buffer(bytes, size));
      const std::string found = answer({bytes, size}, SIZE_MAX);
      const char length[] = {static_cast<char>(found.size() >> 8), static_cast<char>(found.size())};
      boost::asio::write(socket, boost::asio::buffer(length));
      boost::asio::write(socket, boost::asio::buffer(found));
      accept();
    });
  }

  std::string answer(std::string_view message, std::size_t most) {
    const auto question = read_question(message);
    asked.push_back(question->name);
    const auto known = addresses.find(question->name);
    if (known == addresses.end()) return write_answer(*question, DnsCode::no_such_name);
    std::string text = write_answer(*question, DnsCode::no_error);
    if (known->second.size() > most) {
      text[2] = static_cast<char>(text[2] | 0x02);
      return text;
    }
    text[6] = static_cast<char>(known->second.size() >> 8);
    text[7] = static_cast<char>(known->second.size());
    for (const std::string& one : known->second) {
      const std::uint32_t network_order = htonl(address(one.c_str()));
      text += std::string("\xc0\x0c\0\1\0\1\0\0\0\74\0\4", 12);
      text.append(reinterpret_cast<const char*>(&network_order), 4);
    }
    return text;
  }

  udp::socket datagrams_;
  tcp::acceptor connections_;
  char bytes_[512];
  udp::endpoint from_;
};

class EgressListsTest : public NetworkTest {
 protected:
  void on_a_machine_with_names(const std::function<void()>& body) {
    on_a_machine([&] {
      visit(outside_, [] {
        auto there = Netlink::open();
        for (const char* one : {kListed, kUnlisted}) {
          ASSERT_TRUE(there->add_lone_address("up0", address(one)).ok());
        }
      });
      names_ = std::make_unique<FakeNames>(loop_);
      make_lists();
      body();
      lists_.reset();
      names_.reset();
      loop_.restart();
      loop_.poll();
    });
  }

  void make_lists() {
    lists_ = std::make_unique<EgressLists>(loop_, [this] { return names_->at(); });
  }

  Result<> begin(const Container& container, std::vector<std::string> destinations) {
    std::optional<Result<>> begun;
    const auto way = networks_->way_out(container.network.record);
    EXPECT_TRUE(way);
    lists_->begin(container.network.record, "ct", *way,
                  destinations_of(*listed_destinations(std::move(destinations))),
                  [&](Result<> result) { begun = std::move(result); });
    run_until([&] { return begun.has_value(); });
    return *begun;
  }
  Container make_narrow(std::vector<std::string> destinations) {
    Container made = make();
    const auto begun = begin(made, std::move(destinations));
    EXPECT_TRUE(begun.ok()) << begun.error().message;
    return made;
  }

  void run_until(const std::function<bool()>& done) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    loop_.restart();
    bool holds = done();
    while (!holds && std::chrono::steady_clock::now() < limit) {
      loop_.run_one_for(std::chrono::milliseconds(20));
      holds = done();
    }
    EXPECT_TRUE(holds) << "what was waited for does not come";
  }

  struct Told {
    int code = -1;
    bool truncated = false;
    std::vector<std::string> addresses;
  };
  // What a process in the container is told of a name.
  Told look_up(const Container& container, const std::string& name, std::uint16_t type = ns_t_a,
               const std::string& bound_to = "") {
    DnsQuestion question;
    question.name = name;
    question.type = type;
    std::optional<Datagrams> client;
    visit(container.there, [&] {
      client.emplace();
      if (!bound_to.empty()) client->bind_to(bound_to);
      EXPECT_EQ(client->send(write_question(question, 77), address(kNameServer), 53), 0);
    });
    std::string message;
    run_until([&] { return (message = client->receive_now()) != "nothing"; });
    return read(message, question);
  }
  static Told read(const std::string& message, const DnsQuestion& question) {
    Told told;
    const auto answer = read_answer(message, question, 77);
    EXPECT_TRUE(answer);
    if (!answer) return told;
    told.code = message[3] & 0xf;
    told.truncated = answer->truncated;
    for (const std::uint32_t one : answer->addresses) {
      const std::string text = Ipv4Network{one}.text();
      told.addresses.push_back(text.substr(0, text.find('/')));
    }
    return told;
  }

  // 0, or errno of a datagram from the container.
  static int send(const Container& container, const char* to) {
    int sent = -1;
    visit(container.there, [&] { sent = Datagrams().send("x", address(to)); });
    return sent;
  }

  std::unique_ptr<FakeNames> names_;
  std::unique_ptr<EgressLists> lists_;
};

TEST_F(EgressListsTest, AListedNameIsToldOnceThereIsAWayToItAndNothingElseIs) {
  on_a_machine_with_names([&] {
    const Container one = make_narrow({"example.org", "*.example.net"});
    names_->addresses = {{"example.org", {kListed}}, {"cdn.EXAMPLE.net", {kNeighbour}}};
    EXPECT_EQ(send(one, kListed), ENETUNREACH);
    EXPECT_THAT(look_up(one, "example.org").addresses, ElementsAre(kListed));
    EXPECT_EQ(send(one, kListed), 0);
    EXPECT_EQ(send(one, kUnlisted), ENETUNREACH);
    EXPECT_EQ(send(one, kNeighbour), ENETUNREACH);
    EXPECT_THAT(look_up(one, "cdn.EXAMPLE.net").addresses, ElementsAre(kNeighbour));
    EXPECT_EQ(send(one, kNeighbour), 0);
    EXPECT_EQ(send(one, "10.66.0.1"), EHOSTUNREACH);
  });
}

TEST_F(EgressListsTest, ANameThatIsNotListedIsAskedOfNobody) {
  on_a_machine_with_names([&] {
    const Container one = make_narrow({"example.org", "*.example.net"});
    names_->addresses = {{"example.net", {kUnlisted}}};
    for (const char* name : {"other.org", "example.net", "example.org.example", "xexample.org",
                             "x\\.example.net", "."}) {
      const Told told = look_up(one, name);
      EXPECT_EQ(told.code, 3) << name;
      EXPECT_THAT(told.addresses, IsEmpty());
    }
    EXPECT_THAT(names_->asked, IsEmpty());
    EXPECT_EQ(send(one, kUnlisted), ENETUNREACH);
  });
}

TEST_F(EgressListsTest, AListedNameThatIsUnknownOrLeadsByIPv6AloneIsToldSo) {
  on_a_machine_with_names([&] {
    const Container one = make_narrow({"example.org", "gone.org"});
    names_->addresses = {{"example.org", {kListed}}};
    EXPECT_EQ(look_up(one, "gone.org").code, 3);
    const Told told = look_up(one, "example.org", ns_t_aaaa);
    EXPECT_EQ(told.code, 0);
    EXPECT_THAT(told.addresses, IsEmpty());
    EXPECT_THAT(names_->asked, ElementsAre("gone.org"));
  });
}

TEST_F(EgressListsTest, ANameThatLeadsIntoAClosedNetworkLeadsNowhere) {
  on_a_machine_with_names([&] {
    const Container one = make_narrow({"evil.org"});
    for (const char* closed : {"10.66.0.1", "169.254.169.254", "127.0.0.1", "224.0.0.1"}) {
      names_->addresses = {{"evil.org", {kListed, closed}}};
      const Told told = look_up(one, "evil.org");
      EXPECT_EQ(told.code, 3) << closed;
      EXPECT_THAT(told.addresses, IsEmpty());
    }
    EXPECT_EQ(send(one, kListed), ENETUNREACH) << "told of beside one that is closed";
    EXPECT_EQ(send(one, "10.66.0.1"), EHOSTUNREACH);
  });
}

TEST_F(EgressListsTest, AListedNetworkIsOpenButForWhatIsClosed) {
  on_a_machine_with_names([&] {
    const Container one = make_narrow({"203.0.114.0/24", "0.0.0.0/4"});
    EXPECT_EQ(send(one, kListed), 0);
    EXPECT_EQ(send(one, kUnlisted), ENETUNREACH);
    EXPECT_EQ(send(one, "10.66.0.1"), EHOSTUNREACH) << "within the other listed network";
    const auto refused = begin(one, {"10.66.0.0/24"});
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().message,
                HasSubstr("10.66.0.0/24 is closed to containers: open it with --allow-network"));
    EXPECT_EQ(send(one, "10.66.0.1"), EHOSTUNREACH);
  });
}

// Who is bound to the interface needs no route; it asks on the wire who bears an address.
TEST_F(EgressListsTest, WhoSendsByTheInterfaceWithoutARouteReachesNobody) {
  on_a_machine_with_names([&] {
    std::ofstream("/proc/sys/net/ipv4/conf/all/proxy_arp") << "1\n";
    const Container one = make_narrow({"203.0.114.0/24"});
    const std::string name = one.network.record.substr(one.network.record.find(' ') + 1);
    std::ofstream at_once("/proc/sys/net/ipv4/neigh/" + name + "/proxy_delay");
    ASSERT_TRUE(at_once << "0" << std::flush);
    Datagrams machine(INADDR_ANY, kPort);
    visit(outside_, [&] {
      Datagrams outside(INADDR_ANY, kPort);
      visit(one.there, [&] {
        Datagrams bound;
        bound.bind_to(kVethInContainer);
        for (const char* unlisted : {kUnlisted, "10.66.0.1", "203.0.113.2"}) {
          (void)bound.send("unlisted", address(unlisted));
        }
        EXPECT_EQ(bound.send("listed", address(kListed)), 0);
      });
      EXPECT_EQ(outside.receive(), "listed");
      visit(one.there, [&] {
        std::ifstream table("/proc/thread-self/net/arp");
        const std::string known((std::istreambuf_iterator<char>(table)), {});
        EXPECT_THAT(known, HasSubstr("203.0.115.1      0x1         0x0")) << "somebody answered";
      });
      EXPECT_EQ(outside.receive_now(), "nothing");
    });
    EXPECT_EQ(machine.receive_now(), "nothing") << "an address that is open, but not listed";
    names_->addresses = {{"other.org", {kUnlisted}}};
    EXPECT_EQ(look_up(one, "other.org", ns_t_a, kVethInContainer).code, 3);
    EXPECT_THAT(names_->asked, IsEmpty());
  });
}

TEST_F(EgressListsTest, ManyQuestionsAtOnceAreAnsweredInTurns) {
  on_a_machine_with_names([&] {
    const Container one = make_narrow({"example.org"});
    std::optional<Datagrams> client;
    DnsQuestion question;
    question.name = "example.org";
    question.type = ns_t_a;
    constexpr int kMany = 150;
    visit(one.there, [&] {
      client.emplace();
      for (int i = 0; i < kMany; ++i) {
        EXPECT_EQ(client->send(write_question(question, 77), address(kNameServer), 53), 0);
      }
    });
    int answers = 0;
    run_until([&] {
      while (client->receive_now() != "nothing") ++answers;
      return answers == kMany;
    });
  });
}

TEST_F(EgressListsTest, ALongAnswerComesByConnection) {
  on_a_machine_with_names([&] {
    const Container one = make_narrow({"many.org"});
    std::vector<std::string> many;
    for (int i = 0; i < 200; ++i) many.push_back("203.0.114." + std::to_string(i));
    names_->addresses = {{"many.org", many}};
    EXPECT_TRUE(look_up(one, "many.org").truncated);
    EXPECT_EQ(send(one, "203.0.114.199"), 0);
    tcp::socket client(loop_);
    visit(one.there, [&] {
      client.connect({boost::asio::ip::address_v4(address(kNameServer)), 53});
    });
    DnsQuestion question;
    question.name = "many.org";
    question.type = ns_t_a;
    const std::string asked = write_question(question, 77);
    const char length[] = {0, static_cast<char>(asked.size())};
    for (int again = 0; again < 2; ++again) {
      boost::asio::write(client, boost::asio::buffer(length));
      boost::asio::write(client, boost::asio::buffer(asked));
      run_until([&] { return client.available() >= 2; });
      std::uint8_t size[2];
      boost::asio::read(client, boost::asio::buffer(size));
      std::string answer(static_cast<std::size_t>(size[0] << 8 | size[1]), '\0');
      boost::asio::read(client, boost::asio::buffer(answer));
      EXPECT_EQ(read(answer, question).addresses, many);
    }
  });
}

TEST_F(EgressListsTest, AnotherLifeOfTheNodeFindsTheWaysAndAnswersAgain) {
  on_a_machine_with_names([&] {
    const Container one = make_narrow({"example.org", "example.net"});
    names_->addresses = {{"example.org", {kListed}}, {"example.net", {kNeighbour}}};
    look_up(one, "example.org");
    lists_.reset();
    EXPECT_EQ(send(one, kListed), 0);
    EXPECT_EQ(send(one, kNeighbour), ENETUNREACH);
    make_lists();
    ASSERT_TRUE(begin(one, {"example.org", "example.net"}).ok());
    EXPECT_EQ(send(one, kListed), 0);
    EXPECT_THAT(look_up(one, "example.org").addresses, ElementsAre(kListed));
    EXPECT_THAT(look_up(one, "example.net").addresses, ElementsAre(kNeighbour));
    EXPECT_EQ(send(one, kNeighbour), 0);
    EXPECT_EQ(send(one, kUnlisted), ENETUNREACH);
  });
}

TEST_F(EgressListsTest, NobodyAnswersForAListThatHasEnded) {
  on_a_machine_with_names([&] {
    const Container one = make_narrow({"example.org"});
    lists_->end(one.network.record);
    visit(one.there, [&] {
      const UniqueFd free(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      const sockaddr_in at = socket_address(address(kNameServer), 53);
      EXPECT_EQ(::bind(free.get(), reinterpret_cast<const sockaddr*>(&at), sizeof(at)), 0)
          << "a socket of the list is still open";
    });
  });
}

TEST_F(EgressListsTest, AListThatEndsWhileItBeginsIsNotKept) {
  on_a_machine_with_names([&] {
    const Container one = make();
    std::optional<Result<>> begun;
    lists_->begin(one.network.record, "ct", *networks_->way_out(one.network.record), {},
                  [&](Result<> result) { begun = std::move(result); });
    lists_->end(one.network.record);
    run_until([&] { return begun.has_value(); });
    EXPECT_FALSE(begun->ok());
  });
}

TEST_F(EgressListsTest, WaysToAddressesAreBounded) {
  on_a_machine_with_names([&] {
    const Container one = make();
    auto routes = ListedRoutes::narrow(*networks_->way_out(one.network.record), {});
    ASSERT_TRUE(routes.ok()) << routes.error().message;
    std::vector<std::uint32_t> many;
    for (std::uint32_t i = 0; i < 4000; ++i) many.push_back(address("8.0.0.0") + i);
    ASSERT_TRUE(routes->open(many).ok());
    ASSERT_TRUE(routes->open(many).ok()) << "the same again";
    for (std::uint32_t& one_of_many : many) one_of_many += 4000;
    const auto refused = routes->open(many);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::resource_exhausted);
    EXPECT_EQ(send(one, "8.0.0.1"), 0);
    EXPECT_EQ(send(one, "8.0.16.1"), ENETUNREACH);
  });
}

}  // namespace
}  // namespace ember
