#include "node/agent.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "node/container_files.h"
#include "node/frame.h"
#include "node/process_table.h"
#include "node/remote_node.h"
#include "node/unix_socket.h"

namespace ember {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// A runner that obeys: says Hello, then runs the Python of each Input and sends what `out` holds.
constexpr const char* kFakeRunner = R"py(
import json, os, signal, socket, struct, sys, time
run = os.environ.get("EMBER_RUN_DIR", "/ember/run")
function = json.load(open(run + "/function.json"))
print("runner begins", flush=True)
exec(function.get("at_start", ""))
def connect():
    global s
    while True:
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(run + "/runner.sock")
            break
        except OSError:
            time.sleep(0.01)
    send(1, json.dumps({"protocol": 1, "pid": os.getpid()}).encode())
def send(kind, body):
    s.sendall(struct.pack("<IBBHQ", len(body), kind, 1, 0, 0) + body)
def receive(n):
    data = b""
    while len(data) < n:
        part = s.recv(n - len(data))
        if not part:
            raise EOFError
        data += part
    return data
signal.signal(signal.SIGUSR1, lambda *_: send(10, b"interrupted"))
if not function.get("stubborn"):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
connect()
while True:
    try:
        length = struct.unpack("<IBBHQ", receive(16))[0]
        code = receive(length).decode()
    except (EOFError, OSError):
        connect()
        continue
    out = ""
    try:
        exec(code)
    except Exception as error:
        out = repr(error)
    send(7, str(out).encode())
)py";

// Of this run alone: containers of a test that runs beside this one bear other names.
ContainerId id(std::uint64_t number) {
  static const std::uint64_t kRun = std::random_device{}() * 1'000'003ull;
  return ContainerId{(kRun << 20) + number};
}

class Recorder : public NodeObserver {
 public:
  void on_hello(NodeHello hello) override { hellos.push_back(std::move(hello)); }
  void on_lost() override { ++losses; }
  void on_started(ContainerId container, Time at) override { started[container] = at; }
  void on_refused(ContainerId container, std::string why) override {
    refused[container] = std::move(why);
  }
  void on_egress(ContainerId container, std::int64_t total_bytes) override {
    egress[container].push_back(total_bytes);
  }
  void on_exited(ContainerExit exit) override {
    ended.insert(exit.container);
    exits.push_back(std::move(exit));
  }
  void on_runner(ContainerId container, UniqueFd socket) override {
    runners[container] = std::move(socket);
  }
  void on_build_line(std::string, std::string line) override { lines.push_back(std::move(line)); }
  void on_built(std::string image_id, Result<> result) override { built.emplace(image_id, result); }

  std::vector<NodeHello> hellos;
  int losses = 0;
  std::map<ContainerId, Time> started;
  std::map<ContainerId, std::string> refused;
  std::map<ContainerId, std::vector<std::int64_t>> egress;
  std::vector<ContainerExit> exits;
  std::set<ContainerId> ended;
  std::map<ContainerId, UniqueFd> runners;
  std::vector<std::string> lines;
  std::map<std::string, Result<>> built;
};

// The driver's side of a fake runner: blocking, since the runner answers by itself.
std::string read_exactly(int socket, std::size_t size) {
  std::string bytes(size, '\0');
  ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) & ~O_NONBLOCK);
  // Even a read of nothing would wait for something.
  const ssize_t got = size > 0 ? ::recv(socket, bytes.data(), size, MSG_WAITALL) : 0;
  bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return bytes;
}

std::string read_frame(const UniqueFd& socket) {
  const std::string head = read_exactly(socket.get(), kFrameHeaderSize);
  if (head.size() != kFrameHeaderSize) return "(closed)";
  std::array<char, kFrameHeaderSize> bytes;
  std::copy(head.begin(), head.end(), bytes.begin());
  return read_exactly(socket.get(), decode(bytes)->length);
}

void send_code(const UniqueFd& socket, std::string_view code) {
  const auto head =
      encode({.length = static_cast<std::uint32_t>(code.size()), .type = FrameType::input});
  std::string bytes(head.data(), head.size());
  bytes += code;
  EXPECT_EQ(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

std::string ask(const UniqueFd& socket, std::string_view code) {
  send_code(socket, code);
  return read_frame(socket);
}

class AgentTest : public testing::TestWithParam<IsolationChoice> {
 protected:
  void SetUp() override {
    char name[] = "/tmp/ember-node-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    ::chmod(name, 0711);
    root_ = name;
    fs::create_directories(root_ + "/packages/ember/runner");
    std::ofstream(root_ + "/packages/ember/__init__.py");
    std::ofstream(root_ + "/packages/ember/runner/__init__.py");
    std::ofstream(root_ + "/packages/ember/runner/__main__.py") << kFakeRunner;
    options_.data = root_ + "/data";
    options_.name = "test";
    options_.simulate_gpus = "L4:2,H100:1";
    options_.python = {{root_ + "/packages/ember", "ember"}};
    options_.isolation = GetParam();
    options_.allow_process = true;
    options_.cpu_millicores = 8000;
    options_.memory_bytes = 8ll << 30;
    start_agent();
    if (IsSkipped()) return;
    connect();
  }

  void TearDown() override {
    for (const auto& [id, at] : recorder_.started) {
      if (node_) node_->stop(id, {});
    }
    if (node_) run_until([&] { return recorder_.ended.size() >= recorder_.started.size(); });
    for (const ContainerId id : recorder_.ended) {
      if (node_) node_->acknowledge_exit(id);
    }
    if (node_) run_until([&] { return containers_on_disk(root_ + "/data/node").empty(); });
    node_.reset();
    agent_.reset();
    if (root_.empty()) return;
    EXPECT_EQ(leftovers(), "");
    std::error_code error;
    fs::remove_all(root_, error);
    EXPECT_FALSE(error) << error.message();
  }

  // Processes, mounts and cgroups that outlived their container.
  std::string leftovers() const {
    std::string found;
    for (const auto& [id, at] : recorder_.started) {
      for (const pid_t pid : processes_with_env("EMBER_CONTAINER_ID=" + id.text())) {
        found += "process " + std::to_string(pid) + " of " + id.text() + "\n";
      }
      std::error_code ignored;
      for (const auto& hierarchy : fs::directory_iterator("/sys/fs/cgroup", ignored)) {
        for (auto it = fs::recursive_directory_iterator(hierarchy, ignored);
             it != fs::recursive_directory_iterator(); it.increment(ignored)) {
          if (it->path().filename() == id.text()) found += "cgroup " + it->path().string() + "\n";
        }
      }
    }
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
      if (line.find(root_) != std::string::npos) found += "mount " + line + "\n";
    }
    return found;
  }

  void start_agent() {
    auto agent = Agent::start(loop_, options_);
    if (!agent.ok() && GetParam() == IsolationChoice::container) {
      GTEST_SKIP() << "containers are not to be had on this machine: " << agent.error().message;
    }
    ASSERT_TRUE(agent.ok()) << agent.error().message;
    agent_ = std::move(*agent);
  }
  void connect() {
    node_ = make_remote_node(loop_, options_.data + "/node/node.sock");
    node_->set_observer(&recorder_);
    const std::size_t before = recorder_.hellos.size();
    run_until([&] { return recorder_.hellos.size() > before; });
  }

  void run_until(const std::function<bool()>& done,
                 std::chrono::seconds limit = std::chrono::seconds(20)) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    loop_.restart();
    while (!done()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "what was waited for does not come";
      loop_.run_one_for(std::chrono::milliseconds(100));
    }
  }

  static ContainerSpec spec(std::uint64_t number, std::string function = "{}") {
    ContainerSpec one;
    one.container = id(number);
    one.function_json = std::move(function);
    one.labels_json = R"({"pool":"po"})";
    one.resources.memory_bytes = 256 << 20;
    return one;
  }
  // Starts it and waits for its runner's Hello.
  const UniqueFd& start(const ContainerSpec& one, UniqueFd source = {}) {
    node_->start(one, std::move(source));
    const ContainerId id = one.container;
    run_until([&] {
      return recorder_.runners.contains(id) || recorder_.refused.contains(id) ||
             !recorder_.exits.empty();
    });
    if (recorder_.refused.contains(id)) ADD_FAILURE() << recorder_.refused[id];
    for (const auto& exit : recorder_.exits) ADD_FAILURE() << exit.last_output;
    EXPECT_THAT(read_frame(recorder_.runners[id]), HasSubstr("protocol"));
    return recorder_.runners[id];
  }
  const ContainerExit& next_exit() {
    run_until([&] { return !recorder_.exits.empty(); });
    static const ContainerExit kNone;
    return recorder_.exits.empty() ? kNone : recorder_.exits.front();
  }
  bool in_container() const { return recorder_.hellos.back().isolation == "container"; }

  boost::asio::io_context loop_{1};
  std::string root_;
  NodeOptions options_;
  Recorder recorder_;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<NodeClient> node_;
};

TEST_P(AgentTest, SaysWhatTheMachineHasAndKeepsItsIdsOverRestarts) {
  const NodeHello first = recorder_.hellos.back();
  EXPECT_EQ(first.name, "test");
  EXPECT_TRUE(first.node);
  EXPECT_EQ(first.capacity.cpu_millicores, 8000);
  ASSERT_EQ(first.capacity.devices.size(), 3u);
  EXPECT_TRUE(first.capacity.devices[0].simulated);
  EXPECT_FALSE(first.network.empty());
  agent_.reset();
  start_agent();
  run_until([&] { return recorder_.hellos.size() == 2; });
  EXPECT_EQ(recorder_.losses, 1);
  const NodeHello& second = recorder_.hellos.back();
  EXPECT_EQ(second.node, first.node);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(second.capacity.devices[i].id, first.capacity.devices[i].id);
    EXPECT_EQ(second.capacity.devices[i].type, first.capacity.devices[i].type);
  }
}

TEST_P(AgentTest, ARunnerConnectsAndStopsWhenAsked) {
  const UniqueFd& runner = start(spec(1));
  EXPECT_EQ(ask(runner, "out = 6 * 7"), "42");
  node_->stop(id(1), Duration::seconds(30));
  const ContainerExit& exit = next_exit();
  EXPECT_EQ(exit.exit_status, 0);
  EXPECT_EQ(exit.signal, 0);
  EXPECT_FALSE(exit.out_of_memory);
  EXPECT_EQ(exit.labels_json, R"({"pool":"po"})");
  EXPECT_EQ(exit.started, recorder_.started[id(1)]);
  EXPECT_GT(exit.at, exit.started);
  EXPECT_THAT(exit.last_output, HasSubstr("runner begins"));
}

TEST_P(AgentTest, ARunnerThatIgnoresSigtermIsKilledAfterTheGrace) {
  start(spec(1, R"({"stubborn": true})"));
  node_->stop(id(1), Duration::milliseconds(50));
  EXPECT_EQ(next_exit().signal, SIGKILL);
}

TEST_P(AgentTest, AStopWhileItStartsIsKept) {
  node_->start(spec(1), {});
  node_->stop(id(1), {});
  EXPECT_EQ(next_exit().signal, SIGKILL);
}

TEST_P(AgentTest, ASegfaultAndAnExitAreToldApart) {
  send_code(start(spec(1)), "import ctypes; ctypes.string_at(0)");
  EXPECT_EQ(next_exit().signal, SIGSEGV);
  recorder_.exits.clear();
  send_code(start(spec(2)), "print('last words', flush=True); os._exit(9)");
  EXPECT_EQ(next_exit().exit_status, 9);
  EXPECT_THAT(next_exit().last_output, HasSubstr("last words"));
}

TEST_P(AgentTest, ARunnerThatDiesAtOnceLeavesItsLastLines) {
  node_->start(spec(1, R"js({"at_start": "raise RuntimeError('no such module')"})js"), {});
  EXPECT_EQ(next_exit().exit_status, 1);
  EXPECT_THAT(next_exit().last_output, HasSubstr("no such module"));
}

TEST_P(AgentTest, AnInterruptReachesTheRunner) {
  const UniqueFd& runner = start(spec(1));
  node_->interrupt(id(1));
  loop_.restart();
  loop_.run_for(std::chrono::milliseconds(50));
  EXPECT_EQ(read_frame(runner), "interrupted");
}

TEST_P(AgentTest, TheEnvironmentIsTheUsersAndOursAlone) {
  ::setenv("EMBER_TEST_SECRET_OF_THE_NODE", "1", 1);
  auto one = spec(1);
  one.env = {{"GREETING", "good day"}, {"HOME", "/somewhere"}};
  one.resources.cpu_millicores = 1500;
  const UniqueFd& runner = start(one);
  EXPECT_EQ(ask(runner, "out = os.environ['GREETING'] + ' ' + os.environ['OMP_NUM_THREADS']"),
            "good day 2");
  EXPECT_EQ(ask(runner, "out = os.environ.get('EMBER_TEST_SECRET_OF_THE_NODE')"), "None");
  EXPECT_EQ(ask(runner, "out = os.environ['EMBER_CONTAINER_ID']"), id(1).text());
  EXPECT_EQ(ask(runner, "out = sys.executable"), "/usr/bin/python3");
  EXPECT_EQ(ask(runner, "out = len(os.listdir('/proc/self/fd')) <= 5"), "True");
}

TEST_P(AgentTest, TheSourceDirectoryIsReadWherePassed) {
  fs::create_directory(root_ + "/source");
  std::ofstream(root_ + "/source/mine.py") << "value = 'of the source'\n";
  const UniqueFd& runner =
      start(spec(1), UniqueFd(::open((root_ + "/source").c_str(), O_PATH | O_CLOEXEC)));
  EXPECT_EQ(ask(runner,
                "source = os.environ.get('EMBER_SOURCE') or '/source'\n"
                "sys.path.insert(0, source)\nimport mine\nout = mine.value"),
            "of the source");
  if (in_container()) {
    EXPECT_THAT(ask(runner, "open(source + '/new', 'w')"), HasSubstr("Read-only"));
  }
}

TEST_P(AgentTest, GrandchildrenThatHideDieWithTheContainer) {
  const UniqueFd& runner = start(spec(1));
  EXPECT_EQ(ask(runner,
                "import subprocess\n"
                "subprocess.Popen(['/usr/bin/setsid', '/bin/sh', '-c', "
                "'trap \"\" TERM; sleep 1000 & sleep 1000'], stdin=subprocess.DEVNULL)\n"
                "out = 'hidden'"),
            "hidden");
  node_->stop(id(1), Duration::seconds(30));
  next_exit();
  EXPECT_EQ(leftovers(), "");
}

TEST_P(AgentTest, ADeviceIsLeasedToOneContainer) {
  const DeviceId device = recorder_.hellos.back().capacity.devices[0].id;
  auto one = spec(1), two = spec(2), three = spec(3);
  one.devices = two.devices = {device};
  three.devices = {DeviceId{12345}};
  start(one);
  node_->start(two, {});
  node_->start(three, {});
  run_until([&] { return recorder_.refused.size() == 2; });
  EXPECT_THAT(recorder_.refused[id(2)], HasSubstr("held by " + id(1).text()));
  EXPECT_THAT(recorder_.refused[id(3)], HasSubstr("no device"));
  node_->stop(id(1), {});
  EXPECT_EQ(next_exit().devices, one.devices);
  recorder_.exits.clear();
  recorder_.refused.clear();
  start(two);
}

TEST_P(AgentTest, WhatItCannotDoItRefusesWithTheCause) {
  auto names = spec(1), room = spec(2), image = spec(3), cpu = spec(4);
  names.env = {{"not a name", "x"}};
  room.resources.memory_bytes = 64ll << 30;
  image.image.steps = {{"uv_pip_install", {"never-built"}}};
  cpu.resources.cpu_millicores = 0;
  for (const auto* one : {&names, &room, &image, &cpu}) node_->start(*one, {});
  run_until([&] { return recorder_.refused.size() == 4; });
  EXPECT_THAT(recorder_.refused[id(1)], HasSubstr("not a name"));
  EXPECT_THAT(recorder_.refused[id(2)], HasSubstr("memory"));
  EXPECT_THAT(recorder_.refused[id(3)], HasSubstr("not been built"));
  EXPECT_THAT(recorder_.refused[id(4)], HasSubstr("positive"));
  EXPECT_TRUE(containers_on_disk(root_ + "/data/node").empty());
}

TEST_P(AgentTest, ContainersOutliveTheNodeAndAreAdopted) {
  auto one = spec(1);
  one.devices = {recorder_.hellos.back().capacity.devices[0].id};
  const UniqueFd& runner = start(one);
  const std::string pid = ask(runner, "x = 17; out = os.getpid()");
  const Time started = recorder_.started[id(1)];
  agent_.reset();
  recorder_.runners.clear();  // as when the driver has gone too: the runner connects again
  start_agent();
  run_until([&] { return recorder_.hellos.size() == 2 && recorder_.runners.size() == 1; });
  const NodeHello& hello = recorder_.hellos.back();
  ASSERT_EQ(hello.containers.size(), 1u);
  EXPECT_EQ(hello.containers[0].container, id(1));
  EXPECT_EQ(hello.containers[0].started, started);
  EXPECT_EQ(hello.containers[0].devices, one.devices);
  EXPECT_EQ(hello.containers[0].labels_json, one.labels_json);
  const UniqueFd& again = recorder_.runners[id(1)];
  EXPECT_THAT(read_frame(again), HasSubstr("protocol"));
  EXPECT_EQ(ask(again, "out = (x, os.getpid())"), "(17, " + pid + ")");
  auto two = spec(2);
  two.devices = one.devices;
  node_->start(two, {});
  run_until([&] { return recorder_.refused.size() == 1; });
  node_->stop(id(1), Duration::seconds(30));
  EXPECT_EQ(next_exit().started, started);
}

TEST_P(AgentTest, EndsItsContainersWhereItIsToldToAndStartsNoMore) {
  send_code(start(spec(1)), "time.sleep(1000)");
  node_->start(spec(2), {});
  bool done = false;
  agent_->end_containers([&] { done = true; });
  node_->start(spec(3), {});
  run_until([&] { return done && recorder_.refused.contains(id(3)); });
  EXPECT_THAT(recorder_.refused[id(3)], HasSubstr("ending"));
  run_until([&] { return recorder_.ended.contains(id(1)); });
  EXPECT_EQ(next_exit().container, id(1));
}

TEST_P(AgentTest, AnEndNobodySawIsFoundAndRepeatedUntilAcknowledged) {
  const UniqueFd& runner = start(spec(1));
  agent_.reset();
  send_code(runner, "print('unseen', flush=True); os._exit(3)");
  read_frame(runner);
  start_agent();
  EXPECT_THAT(next_exit().last_output, HasSubstr("unseen"));
  EXPECT_GE(next_exit().at, next_exit().started);
  EXPECT_TRUE(recorder_.hellos.back().containers.empty());
  for (int round = 2; round < 4; ++round) {
    recorder_.exits.clear();
    agent_.reset();
    start_agent();
    EXPECT_EQ(next_exit().container, id(1)) << "round " << round;
  }
  node_->acknowledge_exit(id(1));
  run_until([&] { return containers_on_disk(root_ + "/data/node").empty(); });
}

TEST_P(AgentTest, ADriverThatComesBackGetsTheRunnersThatConnectedMeanwhile) {
  start(spec(1));
  node_.reset();
  recorder_.runners.clear();
  loop_.restart();
  loop_.run_for(std::chrono::milliseconds(200));
  connect();
  ASSERT_EQ(recorder_.hellos.back().containers.size(), 1u);
  run_until([&] { return recorder_.runners.size() == 1; });
  EXPECT_THAT(read_frame(recorder_.runners[id(1)]), HasSubstr("protocol"));
}

TEST_P(AgentTest, AFloodOfOutputIsBounded) {
  const UniqueFd& runner = start(spec(1));
  ask(runner,
      "for i in range(40): sys.stdout.write(('%d' % i) * 50000 + '\\n')\nsys.stdout.flush()");
  const ContainerFiles files(options_.data + "/node", id(1));
  run_until([&] { return fs::file_size(files.output_path()) < (1 << 20); });
  node_->stop(id(1), Duration::seconds(30));
  EXPECT_LE(next_exit().last_output.size(), 8u << 10);
}

TEST_P(AgentTest, MalformedMessagesCloseTheConnectionAndNothingElse) {
  start(spec(1));
  const std::string path = options_.data + "/node/node.sock";
  const std::string bad[] = {
      std::string("\x05\0\0\0\0\0\0\0{\"a\":", 13), std::string("\xff\xff\xff\xff\0\0\0\0", 8),
      std::string("\x02\0\0\0\x01\0\0\0{}", 10), std::string("\x02\0\0\0\0\0\0\0{}", 10),
      std::string("\x1d\0\0\0\0\0\0\0{\"type\":\"hello\",\"protocol\":9}", 37)};
  for (const std::string& bytes : bad) {
    auto socket = connect_unix(path);
    ASSERT_TRUE(socket.ok());
    ASSERT_EQ(::send(socket->get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    char byte;
    run_until([&] { return ::recv(socket->get(), &byte, 1, MSG_DONTWAIT) == 0; });
  }
  const std::size_t before = recorder_.hellos.size();
  run_until([&] { return recorder_.hellos.size() > before || recorder_.losses == 0; });
  node_.reset();
  connect();
  EXPECT_EQ(recorder_.hellos.back().containers.size(), 1u);
}

TEST_P(AgentTest, AContainerOverItsMemoryLimitEndsOutOfMemory) {
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

TEST_P(AgentTest, AProcessLimitStopsABomb) {
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
TEST_P(AgentTest, WhatAContainerMayNotDoIsRefused) {
  if (!in_container()) GTEST_SKIP() << "process isolation isolates nothing";
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
      {"out = os.getpid()", "1"},
      {"out = [p for p in os.listdir('/proc') if p.isdigit()]", "['1']"},
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

TEST_P(AgentTest, TwoContainersDoNotMeet) {
  if (!in_container()) GTEST_SKIP() << "process isolation isolates nothing";
  const UniqueFd& one = start(spec(1));
  const UniqueFd& two = start(spec(2));
  const char* who = "out = open('/proc/self/uid_map').read().split()[1]";
  EXPECT_NE(ask(one, who), ask(two, who));
  if (recorder_.hellos.back().network.find("slirp4netns") == std::string::npos) {
    GTEST_SKIP() << recorder_.hellos.back().network;
  }
  const char* net = "out = os.readlink('/proc/self/ns/net')";
  EXPECT_NE(ask(one, net), ask(two, net));
  EXPECT_EQ(ask(one,
                "import socket as k; l = k.socket(); l.bind(('127.0.0.1', 7999)); l.listen()\n"
                "globals()['l'] = l; out = 'listening'"),
            "listening");
  EXPECT_THAT(ask(two, "import socket as k; k.create_connection(('127.0.0.1', 7999), 1)"),
              HasSubstr("refused"));
}

TEST_P(AgentTest, TheMachinesLoopbackIsOutOfReachAndTheOutsideIsNot) {
  if (recorder_.hellos.back().network.find("slirp4netns") == std::string::npos) {
    GTEST_SKIP() << recorder_.hellos.back().network;
  }
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string port = std::to_string(ntohs(address.sin_port));
  const UniqueFd& runner = start(spec(1));
  for (const char* host : {"127.0.0.1", "10.0.2.2"}) {
    EXPECT_THAT(ask(runner, "import socket as k; k.create_connection(('" + std::string(host) +
                                "', " + port + "), 2); out = 'reached'"),
                testing::Not(HasSubstr("reached")))
        << host;
  }
  EXPECT_EQ(ask(runner,
                "import socket as k; u = k.socket(k.AF_INET, k.SOCK_DGRAM)\n"
                "u.connect(('192.0.2.1', 9)); out = u.getsockname()[0]"),
            "10.0.2.100");
}

// Sends datagrams into the void until the container's own kernel has counted so much as gone.
constexpr std::int64_t kSent = 50'000;
constexpr const char* kSend = R"py(
import socket as k
def left():
    return [int(l.split()[9]) for l in open("/proc/net/dev") if "tap0" in l][0]
u = k.socket(k.AF_INET, k.SOCK_DGRAM)
end = left() + 50000
while left() < end:
    u.sendto(b"x" * 1000, ("10.0.2.3", 9))
    time.sleep(0.001)
out = left()
)py";

TEST_P(AgentTest, WhatHasLeftAContainerIsToldWhileItGrowsAndOnceMoreAtItsEnd) {
  if (recorder_.hellos.back().network.find("slirp4netns") == std::string::npos) {
    GTEST_SKIP() << recorder_.hellos.back().network;
  }
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

TEST_P(AgentTest, WhatHasLeftAContainerIsCountedWhileNoNodeLooks) {
  if (recorder_.hellos.back().network.find("slirp4netns") == std::string::npos) {
    GTEST_SKIP() << recorder_.hellos.back().network;
  }
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

TEST_P(AgentTest, WhatWasSeenToLeaveStandsWhereTheNetworkDiesBeforeItsContainer) {
  if (recorder_.hellos.back().network.find("slirp4netns") == std::string::npos) {
    GTEST_SKIP() << recorder_.hellos.back().network;
  }
  const std::int64_t sent = std::stoll(ask(start(spec(1)), kSend));
  run_until([&] {
    const auto& told = recorder_.egress[id(1)];
    return !told.empty() && told.back() >= sent;
  });
  const auto network = ContainerFiles(options_.data + "/node", id(1)).read_network();
  ASSERT_TRUE(network);
  ::kill(network->pid, SIGKILL);
  run_until([&] { return process_start_ticks(network->pid) != network->start_ticks; });
  node_->stop(id(1), Duration::seconds(30));
  EXPECT_GE(next_exit().egress_bytes, sent);
}

TEST_P(AgentTest, WhereEgressIsNotMeteredItSaysSo) {
  const NodeHello& hello = recorder_.hellos.back();
  const bool own_network = hello.network.find("slirp4netns") != std::string::npos;
  const bool says_so =
      std::any_of(hello.missing.begin(), hello.missing.end(),
                  [](const auto& line) { return line.starts_with("egress metering: not "); });
  EXPECT_NE(own_network, says_so) << hello.network;
}

INSTANTIATE_TEST_SUITE_P(Isolation, AgentTest,
                         testing::Values(IsolationChoice::process, IsolationChoice::container),
                         [](const auto& one) {
                           return one.param == IsolationChoice::process ? "process" : "container";
                         });

}  // namespace
}  // namespace ember
