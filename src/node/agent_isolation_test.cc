// What a container may not do, and what it does not see.
#include <netinet/in.h>
#include <signal.h>

#include "node/agent_fixture.h"
#include "node/closed_networks.h"

namespace ember {
namespace {

using testing::HasSubstr;

class AgentIsolationTest : public AgentTest {};

TEST_P(AgentIsolationTest, AContainerOverItsMemoryLimitEndsOutOfMemory) {
  if (!in_container()) GTEST_SKIP() << "process isolation has no limits";
  for (const std::string& line : recorder_.hellos.back().missing) {
    if (line.starts_with("memory")) GTEST_SKIP() << line;
  }
  auto one = spec(1);
  one.resources.memory_bytes = 64 << 20;
  send_code(start(one), "x = bytearray(400 << 20)");
  EXPECT_TRUE(next_exit().out_of_memory);
  EXPECT_EQ(next_exit().signal, SIGKILL);
}

TEST_P(AgentIsolationTest, NoneOfItsMemoryIsSwap) {
  if (!in_container()) GTEST_SKIP() << "process isolation has no limits";
  auto one = spec(1);
  one.resources.memory_bytes = 256 << 20;
  start(one);
  const std::string group = "/ember/" + recorder_.hellos.back().node.text() + "/" + id(1).text();
  const auto v1 = read_file("/sys/fs/cgroup/memory" + group + "/memory.memsw.limit_in_bytes");
  const auto v2 = read_file("/sys/fs/cgroup" + group + "/memory.swap.max");
  if (!v1 && !v2) GTEST_SKIP() << "this kernel does not count swap";
  EXPECT_EQ(v1 ? *v1 : *v2, v1 ? "268435456\n" : "0\n");
}

TEST_P(AgentIsolationTest, AGroupThatIsNotEmptyYetHoldsNobodyUpAndGoesWhenItIs) {
  if (!in_container() || in_gvisor()) GTEST_SKIP() << "another runtime, or no groups";
  start(spec(1));
  const std::string group = "/ember/" + recorder_.hellos.back().node.text() + "/" + id(1).text();
  std::string inner;  // a group in it: it cannot be removed before that
  for (const char* hierarchy : {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"}) {
    inner = hierarchy + group + "/inner";
    if (::mkdir(inner.c_str(), 0755) == 0) break;
    inner.clear();
  }
  if (inner.empty()) GTEST_SKIP() << "this machine has no control groups for containers";
  node_->stop(id(1), Duration{0});
  next_exit();
  ASSERT_EQ(::rmdir(inner.c_str()), 0) << "whoever waited for the exit waited for the group";
  run_until([&] { return cgroups_named(id(1).text()).empty(); });
}

TEST_P(AgentIsolationTest, AProcessLimitStopsABomb) {
  if (!in_container()) GTEST_SKIP() << "process isolation has no limits";
  for (const std::string& line : recorder_.hellos.back().missing) {
    if (line.starts_with("process")) GTEST_SKIP() << line;
  }
  auto one = spec(1);
  one.resources.memory_bytes = 1ll << 30;
  EXPECT_THAT(ask(start(one),
                  "import _thread\n"
                  "for i in range(2000): _thread.start_new_thread(time.sleep, (1000,))"),
              HasSubstr("can't start new thread"));
}

// Each line tries something, and says what stops it.
TEST_P(AgentIsolationTest, WhatAContainerMayNotDoIsRefused) {
  if (!in_container()) GTEST_SKIP() << "process isolation isolates nothing";
  if (in_gvisor()) GTEST_SKIP() << "its kernel is its own, and words refusals otherwise";
  const UniqueFd& runner = start(spec(1));
  EXPECT_EQ(
      ask(runner,
          "import ctypes; c = ctypes.CDLL(None, use_errno=True)\n"
          "import errno\n"
          "def call(*a):\n"
          "    return errno.errorcode.get(ctypes.get_errno()) if c.syscall(*a) < 0 else 'done'\n"
          "import builtins; builtins.c = c; builtins.call = call; builtins.errno = errno\n"
          "globals().update(c=c, call=call, errno=errno, ctypes=ctypes)"),
      "");
  const std::pair<const char*, const char*> tries[] = {
      {"out = open('/proc/self/status').read().split('CapEff:')[1].split()[0]", "0000000000000000"},
      {"out = open('/proc/self/status').read().split('CapBnd:')[1].split()[0]", "0000000000000000"},
      {"out = open('/proc/self/status').read().split('NoNewPrivs:')[1].split()[0]", "1"},
      {"out = open('/proc/self/status').read().split('Seccomp:')[1].split()[0]", "2"},
      {"out = os.getpid() <= 2", "True"},
      {"out = len([p for p in os.listdir('/proc') if p.isdigit()]) <= 2", "True"},
      {"open('/usr/x', 'w')", "Read-only"},
      {"open('/x', 'w')", "Read-only"},
      {"open('/ember/run/x', 'w')", "Read-only"},
      {"open('/proc/sys/kernel/hostname', 'w')", "Read-only"},
      {"out = len(open('/proc/keys', 'rb').read(16)) if os.path.exists('/proc/keys') else 0", "0"},
      {"open('/etc/shadow')", "No such file"},
      {"out = os.listdir('/home')", "No such file"},
      {"os.mknod('/tmp/d', 0o20600, os.makedev(1, 1))", "not permitted"},
      {"open('/dev/mem')", "No such file"},
      {"out = call(165, b'x', b'/tmp', b'tmpfs', 0, None)", "EPERM"},     // mount
      {"out = call(272, 0x10000000)", "EPERM"},                           // unshare
      {"out = call(101, 16, 1, 0, 0)", "EPERM"},                          // ptrace
      {"out = call(425, 8, ctypes.create_string_buffer(256))", "EPERM"},  // io_uring
      {"out = call(321, 0, None, 0)", "EPERM"},                           // bpf
      {"out = call(250, 0, 0, 0)", "EPERM"},                              // keyctl
      {"out = call(323, 0)", "EPERM"},                                    // userfaultfd
      {"out = call(56, 0x10000011, None, None, None, None)", "EPERM"},    // clone, new user
      {"out = call(435, None, 0)", "ENOSYS"},                             // clone3
      {"out = call(41, 38, 5, 0)", "EAFNOSUPPORT"},                       // AF_ALG
      {"out = call(41, 40, 1, 0)", "EAFNOSUPPORT"},                       // AF_VSOCK
      {"out = call(9999)", "ENOSYS"},
      {"import tempfile; tempfile.mkdtemp(); out = open('/root/x', 'w').write('y')", "1"},
      {"import threading; t = threading.Thread(target=int); t.start(); t.join(); out = 'ok'", "ok"},
      {"import subprocess; out = subprocess.run(['/bin/echo', 'hi'], capture_output=True).stdout",
       "hi"},
      {"import multiprocessing.shared_memory as m\n"
       "a = m.SharedMemory(create=True, size=10); a.close(); a.unlink(); out = 'ok'",
       "ok"}};
  for (const auto& [code, answer] : tries)
    EXPECT_THAT(ask(runner, code), HasSubstr(answer)) << code;
}

TEST_P(AgentIsolationTest, OrphansAreCollectedWhileTheContainerLives) {
  if (!in_container()) GTEST_SKIP() << "with process isolation they are the machine's";
  for (const std::string& line : recorder_.hellos.back().missing) {
    if (line.starts_with("init")) GTEST_SKIP() << line;
  }
  EXPECT_EQ(ask(start(spec(1)),
                "import subprocess\n"
                "for i in range(20): subprocess.run('true & true & exit 0', shell=True)\n"
                "deadline = time.time() + 10\n"
                "out = []\n"
                "while len(out) != 2 and time.time() < deadline:\n"
                "    time.sleep(0.05)\n"
                "    out = [p for p in os.listdir('/proc') if p.isdigit()]\n"),
            "['1', '2']");
}

TEST_P(AgentIsolationTest, TwoContainersDoNotMeet) {
  if (!in_container()) GTEST_SKIP() << "process isolation isolates nothing";
  const UniqueFd& one = start(spec(1));
  const UniqueFd& two = start(spec(2));
  const char* who = "out = open('/proc/self/uid_map').read().split()[1]";
  const char* net = "out = os.readlink('/proc/self/ns/net')";
  if (!in_gvisor()) {  // each of its kernels counts from the beginning
    EXPECT_NE(ask(one, who), ask(two, who));
  }
  if (!has_own_network()) GTEST_SKIP() << network_line();
  if (!in_gvisor()) {
    EXPECT_NE(ask(one, net), ask(two, net));
  }
  EXPECT_EQ(ask(one,
                "import socket as k; l = k.socket(); l.bind(('127.0.0.1', 7999)); l.listen()\n"
                "globals()['l'] = l; out = 'listening'"),
            "listening");
  EXPECT_THAT(ask(two, "import socket as k; k.create_connection(('127.0.0.1', 7999), 1)"),
              HasSubstr("refused"));
}

TEST_P(AgentIsolationTest, WithoutANetworkAContainerHasItsLoopbackAlone) {
  auto one = spec(1);
  one.sandbox.network = {NetworkAccess::none};
  if (!in_container()) {
    node_->start(one, {});
    run_until([&] { return recorder_.refused.contains(id(1)); });
    EXPECT_THAT(recorder_.refused[id(1)], HasSubstr("its network setting cannot be kept"));
    return;
  }
  const UniqueFd& runner = start(one);
  EXPECT_EQ(
      ask(runner, "out = [l.split(':')[0].strip() for l in open('/proc/net/dev') if ':' in l]"),
      "['lo']");
  for (const char* host : {"192.0.2.1", "10.0.2.3", "169.254.169.254"}) {
    EXPECT_THAT(ask(runner, "import socket as k; k.create_connection(('" + std::string(host) +
                                "', 80), 2)"),
                testing::AnyOf(HasSubstr("Network is unreachable"), HasSubstr("No route to host")))
        << host;
  }
  EXPECT_THAT(ask(runner, "import socket as k; out = k.getaddrinfo('example.org', 80)"),
              HasSubstr("gaierror"));
  EXPECT_EQ(ask(runner,
                "import socket as k; l = k.create_server(('127.0.0.1', 0))\n"
                "k.create_connection(l.getsockname(), 2); out = 'reached'"),
            "reached");
  if (in_gvisor()) return;
  const char* net = "out = os.readlink('/proc/self/ns/net')";
  EXPECT_NE(ask(runner, net), ask(start(spec(2)), net));
}

// A listener on an address of the machine, and a container that tries to reach it.
class AgentNetworkTest : public AgentTest {
 protected:
  void SetUp() override {
    AgentTest::SetUp();
    if (!IsSkipped() && !has_own_network()) GTEST_SKIP() << network_line();
  }

  // Its port.
  std::string listen_on(std::uint32_t host_order) {
    listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(host_order);
    socklen_t size = sizeof(address);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listener_.get(), any, size), 0);
    EXPECT_EQ(::listen(listener_.get(), 4), 0);
    EXPECT_EQ(::getsockname(listener_.get(), any, &size), 0);
    const UniqueFd control(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(control.get(), any, size), 0) << "the machine itself does not reach it";
    return std::to_string(ntohs(address.sin_port));
  }

  static std::string reach(const UniqueFd& runner, std::string host, const std::string& port) {
    host = host.substr(0, host.find('/'));
    return ask(runner, "import socket as k; k.create_connection(('" + host + "', " + port +
                           "), 2); out = 'reached'");
  }

  // What an attempt to reach what is closed says: gVisor takes no routes that lead nowhere, and
  // what it sends is dropped by the firewall without a word.
  static testing::Matcher<std::string> nowhere() {
    return HasSubstr(in_gvisor() ? "timed out" : "No route to host");
  }

  UniqueFd listener_;
};

TEST_P(AgentNetworkTest, TheMachinesLoopbackIsOutOfReachAndTheOutsideIsNot) {
  const std::string port = listen_on(INADDR_LOOPBACK);
  const UniqueFd& runner = start(spec(1));
  for (const char* host : {"127.0.0.1", "10.0.2.2", "10.0.2.3"}) {
    EXPECT_THAT(reach(runner, host, port), testing::Not(HasSubstr("reached"))) << host;
  }
  EXPECT_THAT(ask(runner,
                  "import socket as k; u = k.socket(k.AF_INET, k.SOCK_DGRAM)\n"
                  "u.connect(('203.0.113.1', 9)); out = u.getsockname()[0]"),
              testing::MatchesRegex("1[0-9.]+"));
}

constexpr int kMostOwnAddresses = 5;

TEST_P(AgentNetworkTest, PrivateNetworksAndTheMachinesOwnAddressesLeadNowhere) {
  const UniqueFd& runner = start(spec(1));
  for (const char* host : {"169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.0.1"}) {
    EXPECT_THAT(reach(runner, host, "80"), nowhere()) << host;
  }
  const std::string route = ask(runner,
                                "rows = [row.split() for row in open('/proc/net/route')]\n"
                                "out = [row[2] for row in rows if row[3] == '0003'][0]");
  const auto gateway = ntohl(static_cast<std::uint32_t>(std::stoul(route, nullptr, 16)));
  int tried = 0;  // some of them: the containers of other tests add to these addresses
  for (const Ipv4Network& own : own_addresses()) {
    if (own.address == gateway) continue;  // the machine's end of its own veth pair
    if (++tried > kMostOwnAddresses) break;
    // That of a container beside this test's may have gone.
    const auto now = own_addresses();
    if (std::ranges::find(now, own.address, &Ipv4Network::address) == now.end()) continue;
    EXPECT_THAT(reach(runner, own.text(), listen_on(own.address)), nowhere()) << own.text();
  }
}

TEST_P(AgentNetworkTest, WhatIsAllowedIsWithinReachAndNothingElse) {
  const auto own = own_addresses();
  if (own.empty()) GTEST_SKIP() << "this machine has no address but its loopback's";
  options_.allowed_networks = {own.front()};
  agent_.reset();
  start_agent();
  run_until([&] { return recorder_.hellos.size() == 2; });
  EXPECT_THAT(network_line(), HasSubstr("out of reach but for " + own.front().text()));
  const UniqueFd& runner = start(spec(1));
  EXPECT_EQ(reach(runner, own.front().text(), listen_on(own.front().address)), "reached");
  EXPECT_THAT(reach(runner, "169.254.169.254", "80"), nowhere());
}

TEST_P(AgentNetworkTest, ANetworkThatEndsBeforeItIsTakenIsPassedOver) {
  run_until([&] { return networks().size() == 2; });
  loop_.run_for(std::chrono::milliseconds(300));  // the spare ones become ready
  for (const std::string& network : networks()) end_network(network);
  EXPECT_EQ(ask(start(spec(1)), "out = 'begun'"), "begun");
}

TEST_P(AgentNetworkTest, NoneOutlivesANodeThatEndsItsContainers) {
  for (std::uint64_t number = 1; number <= 4; ++number) start(spec(number));
  bool done = false;
  agent_->end_containers([&] { done = true; });
  run_until([&] { return done; });
  EXPECT_THAT(networks(), testing::IsEmpty());
}

TEST_P(AgentNetworkTest, ThatOfAContainerWhoseEndIsOnDiskGoesWhenTheNodeStartsAgain) {
  if (!has_veth_pair()) GTEST_SKIP() << "the others leave with their process";
  const UniqueFd& runner = start(spec(1));
  const ContainerFiles files(options_.data + "/node", id(1));
  const std::string other = network_of(1) + "0000";  // which the next life does not make again
  const std::string path = options_.data + "/node/networks/" + other;
  send_code(runner, "os._exit(0)");
  (void)next_exit();
  agent_.reset();
  // What a node leaves that is killed between the end and the last steps after it.
  ASSERT_TRUE(files.write_network("veth " + other).ok());
  std::ofstream(path).close();
  start_agent();
  run_until([&] { return recorder_.hellos.size() == 2; });
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_P(AgentNetworkTest, AContainerWhoseNetworkEndsIsEndedAfterWhatRunsAndTheCauseIsTold) {
  if (has_veth_pair()) GTEST_SKIP() << "nothing but the node ends it";
  const UniqueFd& runner = start(spec(1, R"({"stubborn": true})"));
  send_code(runner, "time.sleep(0.5); os._exit(send(7, b'done') or 0)");
  end_network(network_of(1));
  EXPECT_EQ(next_exit().exit_status, 0);
  EXPECT_EQ(read_frame(runner), "done");
  EXPECT_THAT(next_exit().fault, HasSubstr("its network ended"));
  recorder_.exits.clear();
  start(spec(2));
  agent_.reset();
  ::kill(static_cast<pid_t>(std::stol(network_of(2))), SIGKILL);
  start_agent();
  EXPECT_THAT(next_exit().fault, HasSubstr("its network ended"));
}

INSTANTIATE_TEST_SUITE_P(Network, AgentNetworkTest, every_network(), setting_name);
INSTANTIATE_TEST_SUITE_P(Isolation, AgentIsolationTest, every_isolation(), setting_name);

}  // namespace
}  // namespace ember
