// What the agent says of the bytes that leave a container.
#include "node/agent_fixture.h"

namespace ember {
namespace {

using testing::HasSubstr;

class AgentEgressTest : public AgentTest {};

// Sends datagrams into the void until the container's own kernel has counted so much as gone.
constexpr std::int64_t kSent = 50'000;
constexpr const char* kSend = R"py(
import socket as k
def left():
    return [int(l.split()[9]) for l in open("/proc/net/dev") if ":" in l and "lo:" not in l][0]
u = k.socket(k.AF_INET, k.SOCK_DGRAM)
end = left() + 50000
while left() < end:
    u.sendto(b"x" * 1000, ("10.0.2.3", 9))
    time.sleep(0.001)
out = left()
)py";

TEST_P(AgentEgressTest, WhatHasLeftAContainerIsToldWhileItGrowsAndOnceMoreAtItsEnd) {
  if (!has_own_network()) GTEST_SKIP() << network_line();
  const UniqueFd& runner = start(spec(1));
  const UniqueFd& silent = start(spec(2));
  const std::int64_t first = std::stoll(ask(runner, kSend));
  run_until([&] {
    const auto& told = recorder_.egress[id(1)];
    return !told.empty() && told.back() >= first;
  });
  ask(silent,
      "import socket as k; l = k.create_server(('127.0.0.1', 0))\n"
      "k.create_connection(l.getsockname()).send(b'x' * 100000)");
  const std::size_t told = recorder_.egress[id(1)].size();
  loop_.restart();
  loop_.run_for(std::chrono::seconds(3));
  EXPECT_EQ(recorder_.egress[id(1)].size(), told) << "told again, and nothing had left";
  // Nobody is asked any more: the namespace is read when its processes are gone.
  send_code(runner, std::string(kSend) + "import ctypes; ctypes.string_at(0)");
  EXPECT_GE(next_exit().egress_bytes, first + kSent);
  recorder_.exits.clear();
  node_->stop(id(2), {});
  EXPECT_EQ(next_exit().egress_bytes, 0) << "the loopback does not leave the namespace";
  EXPECT_TRUE(recorder_.egress[id(2)].empty());
}

TEST_P(AgentEgressTest, WhatHasLeftAContainerIsCountedWhileNoNodeLooks) {
  if (!has_own_network()) GTEST_SKIP() << network_line();
  const UniqueFd& one = start(spec(1));
  const UniqueFd& two = start(spec(2));
  agent_.reset();
  const std::int64_t first = std::stoll(ask(one, kSend));
  send_code(two, std::string(kSend) + "os._exit(3)");
  read_frame(two);
  start_agent();
  EXPECT_GE(next_exit().egress_bytes, kSent);
  run_until([&] { return recorder_.hellos.size() == 2; });
  ASSERT_EQ(recorder_.hellos.back().containers.size(), 1u);
  EXPECT_GE(recorder_.hellos.back().containers[0].egress_bytes, first);
}

TEST_P(AgentEgressTest, WhatWasSeenToLeaveStandsWhereTheNetworkDiesBeforeItsContainer) {
  if (!has_own_network()) GTEST_SKIP() << network_line();
  const std::int64_t sent = std::stoll(ask(start(spec(1)), kSend));
  run_until([&] {
    const auto& told = recorder_.egress[id(1)];
    return !told.empty() && told.back() >= sent;
  });
  end_network(network_of(1));
  if (has_veth_pair()) node_->stop(id(1), {});
  EXPECT_GE(next_exit().egress_bytes, sent);
}

TEST_P(AgentEgressTest, WhereEgressIsNotMeteredItSaysSo) {
  const NodeHello& hello = recorder_.hellos.back();
  const bool says_so =
      std::any_of(hello.missing.begin(), hello.missing.end(),
                  [](const auto& line) { return line.starts_with("egress metering: not "); });
  EXPECT_NE(has_own_network(), says_so) << hello.network;
}

INSTANTIATE_TEST_SUITE_P(Isolation, AgentEgressTest, every_network(), setting_name);

}  // namespace
}  // namespace ember
