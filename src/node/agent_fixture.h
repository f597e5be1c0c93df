// An agent on a data directory of its own, with a driver and runners that obey: the fixture of the
// agent's tests, each once for every class of isolation.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
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
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "node/agent.h"
#include "node/container_files.h"
#include "node/firewall.h"
#include "node/frame.h"
#include "node/netlink.h"
#include "node/process_table.h"
#include "node/remote_node.h"
#include "node/veth_networks.h"

namespace ember {

// A runner that obeys: says Hello, then runs the Python of each Input and sends what `out` holds.
inline constexpr const char* kFakeRunner = R"py(
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
inline ContainerId id(std::uint64_t number) {
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
  void on_devices(std::vector<Device> all, std::vector<std::string> lacking) override {
    devices = std::move(all);
    missing = std::move(lacking);
  }
  void on_exited(ContainerExit exit) override {
    ended.insert(exit.container);
    exits.push_back(std::move(exit));
  }
  void on_runner(ContainerId container, UniqueFd socket) override {
    runners[container] = std::move(socket);
  }
  void on_remounted(ContainerId, std::string, Result<> result) override {
    remounts.push_back(std::move(result));
  }
  void on_build_line(std::string, std::string line) override { lines.push_back(std::move(line)); }
  void on_built(std::string image_id, Result<> result) override { built.emplace(image_id, result); }
  void on_image_answer(std::uint64_t, Result<std::string>) override {}
  void on_exec_stream(ExecId exec, ExecStream stream, UniqueFd file) override {
    streams[{exec, stream}] = std::move(file);
  }
  void on_exec_ended(ExecId exec, Result<ExecExit> exit) override { execs.emplace(exec, exit); }
  void on_inspected(std::uint64_t question, Result<std::string> answer) override {
    inspected.emplace(question, std::move(answer));
  }

  std::vector<NodeHello> hellos;
  int losses = 0;
  std::map<ContainerId, Time> started;
  std::map<ContainerId, std::string> refused;
  std::map<ContainerId, std::vector<std::int64_t>> egress;
  std::vector<Device> devices;       // as last told after a hello
  std::vector<std::string> missing;  // the same
  std::vector<ContainerExit> exits;
  std::set<ContainerId> ended;
  std::map<ContainerId, UniqueFd> runners;
  std::vector<std::string> lines;
  std::vector<Result<>> remounts;
  std::map<std::string, Result<>> built;
  std::map<std::pair<ExecId, ExecStream>, UniqueFd> streams;
  std::map<ExecId, Result<ExecExit>> execs;
  std::map<std::uint64_t, Result<std::string>> inspected;
};

// The driver's side of a fake runner: blocking, since the runner answers by itself.
inline std::string read_exactly(int socket, std::size_t size) {
  std::string bytes(size, '\0');
  ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) & ~O_NONBLOCK);
  // Even a read of nothing would wait for something.
  const ssize_t got = size > 0 ? ::recv(socket, bytes.data(), size, MSG_WAITALL) : 0;
  bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return bytes;
}

inline std::string read_frame(const UniqueFd& socket) {
  const std::string head = read_exactly(socket.get(), kFrameHeaderSize);
  if (head.size() != kFrameHeaderSize) return "(closed)";
  std::array<char, kFrameHeaderSize> bytes;
  std::copy(head.begin(), head.end(), bytes.begin());
  return read_exactly(socket.get(), decode(bytes)->length);
}

inline void send_code(const UniqueFd& socket, std::string_view code) {
  const auto head =
      encode({.length = static_cast<std::uint32_t>(code.size()), .type = FrameType::input});
  std::string bytes(head.data(), head.size());
  bytes += code;
  EXPECT_EQ(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

inline std::string ask(const UniqueFd& socket, std::string_view code) {
  send_code(socket, code);
  return read_frame(socket);
}

struct Setting {
  IsolationChoice isolation;
  NetworkChoice network = NetworkChoice::automatic;
  IsolationClass wanted = IsolationClass::of_the_node;  // by every container
};

class AgentTest : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    char name[] = "/tmp/ember-node-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    ::chmod(name, 0711);
    root_ = name;
    std::filesystem::create_directories(root_ + "/packages/ember/runner");
    std::ofstream(root_ + "/packages/ember/__init__.py");
    std::ofstream(root_ + "/packages/ember/runner/__init__.py");
    std::ofstream(root_ + "/packages/ember/runner/__main__.py") << kFakeRunner;
    options_.data = root_ + "/data";
    options_.name = "test";
    options_.simulate_gpus = "L4:2,H100:1";
    options_.python = {{root_ + "/packages/ember", "ember"}};
    options_.isolation = GetParam().isolation;
    options_.network = GetParam().network;
    if (!in_gvisor()) options_.runsc = "/there/is/none";  // no trial
    options_.allow_process = true;
    options_.cpu_millicores = 8000;
    options_.memory_bytes = 8ll << 30;
    start_agent();
    if (IsSkipped()) return;
    connect();
    if (in_gvisor() && !recorder_.hellos.back().no_gvisor.empty()) {
      GTEST_SKIP() << recorder_.hellos.back().no_gvisor;
    }
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
    std::filesystem::remove_all(root_, error);
    EXPECT_FALSE(error) << error.message();
  }

  // Processes, mounts and cgroups that outlived their container, and cgroups that outlived the
  // node.
  std::string leftovers() const {
    std::string found;
    for (const auto& [id, at] : recorder_.started) {
      for (const pid_t pid : processes_with_env("EMBER_CONTAINER_ID=" + id.text())) {
        found += "process " + std::to_string(pid) + " of " + id.text() + "\n";
      }
      found += cgroups_named(id.text());
    }
    if (!agent_ && !recorder_.hellos.empty()) {
      const NodeId node = recorder_.hellos.back().node;
      found += cgroups_named(node.text());
      if (firewall_rules(firewall_table_of(node)) > 0) found += "the firewall\n";
    }
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
      const bool is_spare_network = agent_ && line.find("/networks/") != std::string::npos;
      if (line.find(root_) != std::string::npos && !is_spare_network) {
        found += "mount " + line + "\n";
      }
    }
    return found;
  }

  static std::string cgroups_named(const std::string& name) {
    std::string found;
    std::error_code ignored;
    for (const auto& hierarchy : std::filesystem::directory_iterator("/sys/fs/cgroup", ignored)) {
      for (auto it = std::filesystem::recursive_directory_iterator(hierarchy, ignored);
           it != std::filesystem::recursive_directory_iterator(); it.increment(ignored)) {
        if (it->path().filename() == name) found += "cgroup " + it->path().string() + "\n";
      }
    }
    return found;
  }

  void start_agent() {
    auto agent = Agent::start(loop_, options_);
    if (!agent.ok() && GetParam().isolation == IsolationChoice::container) {
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
    one.sandbox.isolation = GetParam().wanted;
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
    EXPECT_THAT(read_frame(recorder_.runners[id]), testing::HasSubstr("protocol"));
    return recorder_.runners[id];
  }
  const ContainerExit& next_exit() {
    run_until([&] { return !recorder_.exits.empty(); });
    static const ContainerExit kNone;
    return recorder_.exits.empty() ? kNone : recorder_.exits.front();
  }
  static bool in_gvisor() { return GetParam().wanted == IsolationClass::gvisor; }
  bool in_container() const { return recorder_.hellos.back().isolation == "container"; }
  const std::string& network_line() const { return recorder_.hellos.back().network; }
  bool has_own_network() const { return network_line().starts_with("a network of its own"); }
  bool has_veth_pair() const { return network_line().find("a veth pair") != std::string::npos; }

  // Of the node: names of interfaces, or numbers of processes.
  std::vector<std::string> networks() const {
    const NodeId node = recorder_.hellos.back().node;
    std::vector<std::string> all = Netlink::open()->links_named(veth_prefix_of(node));
    for (const pid_t pid : processes_with_env("EMBER_NETWORK_OF=" + node.text())) {
      all.push_back(std::to_string(pid));
    }
    return all;
  }
  std::string network_of(std::uint64_t number) const {
    const auto record = ContainerFiles(options_.data + "/node", id(number)).read_network();
    EXPECT_TRUE(record);
    if (!record) return "";
    return has_veth_pair() ? record->substr(record->find(' ') + 1)
                           : record->substr(0, record->find(' '));
  }
  // As a fault does, not the node.
  void end_network(const std::string& network) {
    if (has_veth_pair()) {
      EXPECT_TRUE(Netlink::open()->remove_link(network).ok());
      return;
    }
    const auto pid = static_cast<pid_t>(std::stol(network));
    ::kill(pid, SIGKILL);
    run_until([&] { return process_start_ticks(pid) == 0; });
  }

  boost::asio::io_context loop_{1};
  std::string root_;
  NodeOptions options_;
  Recorder recorder_;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<NodeClient> node_;
};

inline constexpr Setting kGvisor{.isolation = IsolationChoice::container,
                                 .wanted = IsolationClass::gvisor};

inline auto isolations_with_devices() {
  return testing::Values(Setting{IsolationChoice::process}, Setting{IsolationChoice::container});
}
inline auto every_isolation() {
  return testing::Values(Setting{IsolationChoice::process}, Setting{IsolationChoice::container},
                         kGvisor);
}
inline auto every_network() {
  return testing::Values(Setting{IsolationChoice::process},
                         Setting{IsolationChoice::container, NetworkChoice::veth},
                         Setting{IsolationChoice::container, NetworkChoice::slirp4netns}, kGvisor);
}
inline std::string setting_name(const testing::TestParamInfo<Setting>& info) {
  if (info.param.wanted == IsolationClass::gvisor) return "gvisor";
  if (info.param.network == NetworkChoice::veth) return "veth";
  if (info.param.network == NetworkChoice::slirp4netns) return "slirp4netns";
  return info.param.isolation == IsolationChoice::process ? "process" : "container";
}

}  // namespace ember
