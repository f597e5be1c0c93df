// A node that runs its "containers" in the test, by the test's clock: each has a runner at the
// other end of a socket pair and does what the name of its function says.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control/clock.h"
#include "control/fake_runner.h"
#include "control/json.h"
#include "node/node_client.h"

namespace ember {

class FakeClock final : public Clock {
 public:
  Time now() override { return now_; }
  void advance(Duration by) { now_ = now_ + by; }

 private:
  Time now_{1'764'072'000'000'000};  // 2025-11-25 12:00 UTC
};

struct FakeContainer {
  ContainerSpec spec;
  std::string function;
  Time started;
  std::unique_ptr<FakeRunner> runner;
  std::vector<FakeRunner::Frame> inputs;  // that nobody has answered
  std::vector<std::uint32_t> batches;     // how many inputs each was said to have
  std::vector<FakeRunner::Frame> others;  // what came that nothing here reads
  FrameHeader outer;                      // the input that called another function
  std::size_t secrets_missing = 0;        // it waits for so many before it loads
  std::vector<std::string> secrets;       // bodies of the frames that brought some
  int version = 0;                        // of the app
  bool loaded = false, stop_asked = false, killed = false;
  std::int64_t egress_bytes = 0;
};

// Starts at once and answers at once, unless the function's name asks for something else:
//   late             is never done with loading
//   slow, stubborn   keep their inputs (slow gives one up when it is cancelled)
//   refused          the node refuses to start it      broken   its module cannot be loaded
//   raise            every input raises                 crash    every input ends the process
//   outer            calls "echo" of its own app with its own arguments
class FakeNode final : public NodeClient {
 public:
  explicit FakeNode(FakeClock& clock) : clock_(clock) {
    hello.name = "here";
    hello.node = NodeId{77};
    hello.capacity = {4000, 8ll << 30, {{DeviceId{1}, "L4", 24ll << 30, true}}};
    hello.isolation = "container";
  }

  void set_observer(NodeObserver* observer) override { observer_ = observer; }
  void start(ContainerSpec spec, UniqueFd source) override {
    has_source = static_cast<bool>(source);
    starts.push_back(std::move(spec));
  }
  void stop(ContainerId id, Duration grace) override {
    const auto found = containers.find(id);
    if (found == containers.end()) return;
    found->second.stop_asked = true;
    found->second.killed |= grace.us == 0;
  }
  void interrupt(ContainerId id) override { interrupted.push_back(id); }
  void acknowledge_exit(ContainerId id) override {
    unacknowledged.erase(id);
    acknowledged.push_back(id);
  }
  void remount(ContainerId container, VolumeOverlay volume) override {
    remounts.emplace_back(container, std::move(volume));
  }
  void build(BuildOrder order) override { builds.push_back(std::move(order.name)); }
  void ask_images(ImageQuery query) override { image_queries.push_back(std::move(query)); }

  // The process's ends of three pipes.
  struct FakeExec {
    ContainerId container;
    ExecSpec spec;
    UniqueFd input, output, errors;
    char scratch[1 << 16] = {};

    std::string read_input() {
      const ssize_t got = ::read(input.get(), scratch, sizeof scratch);
      return {scratch, static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
    }
    std::size_t write(const UniqueFd& file, std::string_view bytes) const {
      ::fcntl(file.get(), F_SETFL, O_NONBLOCK);
      const ssize_t count = ::write(file.get(), bytes.data(), bytes.size());
      return static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    }
  };
  void exec(ExecId id, ContainerId container, ExecSpec spec) override {
    FakeExec& one = execs[id];
    one.container = container;
    one.spec = std::move(spec);
    const auto pipe = [](UniqueFd& reads, UniqueFd& writes) {
      int ends[2];
      ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
      reads = UniqueFd(ends[0]);
      writes = UniqueFd(ends[1]);
    };
    UniqueFd input, output, errors;
    pipe(one.input, input);
    pipe(output, one.output);
    pipe(errors, one.errors);
    observer_->on_exec_stream(id, ExecStream::input, std::move(input));
    observer_->on_exec_stream(id, ExecStream::output, std::move(output));
    observer_->on_exec_stream(id, ExecStream::errors, std::move(errors));
  }
  void end_exec(ExecId id) override { unwanted_execs.push_back(id); }
  void end_exec_with(ExecId id, Result<ExecExit> exit) {
    observer_->on_exec_ended(id, std::move(exit));
  }
  void inspect(std::uint64_t question, ContainerId, ProcessQuery what) override {
    if (what == ProcessQuery::stacks) {
      return observer_->on_inspected(question, Error{ErrorCode::unavailable, "no py-spy"});
    }
    observer_->on_inspected(question, std::string(R"({"processes": []})"));
  }

  void connect() {
    hello.containers.clear();
    for (const auto& [id, container] : containers) {
      hello.containers.push_back({id, container.spec.labels_json, container.spec.devices,
                                  container.started, container.egress_bytes});
    }
    observer_->on_hello(hello);
    const auto exits = unacknowledged;
    for (const auto& [id, exit] : exits) observer_->on_exited(exit);
  }
  void lose() { observer_->on_lost(); }
  void tell_egress() {
    for (const auto& [id, one] : containers) observer_->on_egress(id, one.egress_bytes);
  }
  bool is_observed() const { return observer_ != nullptr; }

  // One turn of the machine.
  void run() {
    // The server has read what they sent before.
    for (const ContainerId id : std::exchange(failing_, {})) end(id, 70);
    for (const ContainerId id : std::exchange(crashing_, {})) end(id, 0, SIGSEGV);
    for (const ContainerId id : ids()) run_container(id);
    for (auto& spec : std::exchange(starts, {})) {
      begin(std::move(spec));
    }
    for (auto& id : std::exchange(builds, {})) {
      observer_->on_build_line(id, "building");
      observer_->on_built(id, Ok{});
    }
  }

  void end(ContainerId id, int status, int signal = 0, bool out_of_memory = false) {
    ContainerExit exit = exit_of(id);
    exit.exit_status = signal ? -1 : status;
    exit.signal = signal;
    exit.out_of_memory = out_of_memory;
    tell(std::move(exit));
  }
  // The node's own doing.
  void end_for(ContainerId id, std::string fault) {
    ContainerExit exit = exit_of(id);
    exit.exit_status = 0;
    exit.fault = std::move(fault);
    tell(std::move(exit));
  }

  // The server has gone: connections break, containers live on.
  void forget_server() {
    observer_ = nullptr;
    for (auto& [id, container] : containers) {
      container.runner.reset();
      container.inputs.clear();
    }
  }
  // The runners connect again, as after a restart of the server.
  void reconnect_runners() {
    for (const ContainerId id : ids()) {
      connect_runner(id);
      if (containers.at(id).secrets_missing > 0) {
        containers.at(id).runner->send(FrameType::hello, R"({"protocol": 1, "state": "loading"})");
        continue;
      }
      containers.at(id).runner->send(FrameType::hello, R"({"protocol": 1, "state": "ready"})");
      containers.at(id).runner->send(FrameType::ready, "{}");
    }
  }

  FakeContainer& only() {
    EXPECT_EQ(containers.size(), 1u);
    return containers.begin()->second;
  }
  std::vector<ContainerId> ids() const {
    std::vector<ContainerId> all;
    for (const auto& [id, container] : containers) all.push_back(id);
    return all;
  }

  NodeHello hello;
  std::map<ContainerId, FakeContainer> containers;
  std::map<ContainerId, ContainerExit> unacknowledged;
  std::vector<ContainerSpec> starts;
  std::vector<std::string> builds;
  std::vector<std::pair<ContainerId, VolumeOverlay>> remounts;
  std::vector<ImageQuery> image_queries;
  std::map<ExecId, FakeExec> execs;
  std::vector<ExecId> unwanted_execs;
  std::vector<ContainerId> interrupted, acknowledged;
  Duration boot = Duration::milliseconds(300), load = Duration::milliseconds(200);
  bool has_source = false;
  std::set<int> broken_versions, late_versions;  // as functions of these names

 private:
  ContainerExit exit_of(ContainerId id) const {
    const FakeContainer& container = containers.at(id);
    ContainerExit exit;
    exit.container = id;
    exit.labels_json = container.spec.labels_json;
    exit.started = container.started;
    exit.at = clock_.now();
    exit.devices = container.spec.devices;
    exit.egress_bytes = container.egress_bytes;
    return exit;
  }

  void tell(ContainerExit exit) {
    unacknowledged[exit.container] = exit;
    containers.erase(exit.container);
    if (observer_) observer_->on_exited(std::move(exit));
  }

  void connect_runner(ContainerId id) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    containers.at(id).runner = std::make_unique<FakeRunner>(UniqueFd(ends[0]));
    observer_->on_runner(id, UniqueFd(ends[1]));
  }

  void begin(ContainerSpec spec) {
    const ContainerId id = spec.container;
    const auto function = JsonValue::parse(spec.function_json)["function"].get<std::string>();
    if (function == "refused") return observer_->on_refused(id, "the disk is full");
    FakeContainer& container = containers[id];
    container.secrets_missing = JsonValue::parse(spec.function_json)["secrets"].get<std::size_t>();
    container.spec = std::move(spec);
    container.function = function;
    container.version = JsonValue::parse(container.spec.function_json)["version"].get<int>();
    container.started = clock_.now();
    observer_->on_started(id, container.started);
    clock_.advance(boot);
    connect_runner(id);
    // What it says of its imports is longer than its boot took.
    container.runner->send(FrameType::hello, R"({"protocol": 1, "state": "loading",
        "timeline_us": {"interpreter": 100000, "imports": 900000000}})");
  }

  void run_container(ContainerId id) {
    FakeContainer& container = containers.at(id);
    if (container.killed) return end(id, -1, SIGKILL);
    if (!container.runner) return;
    if (container.secrets_missing > 0) return await_secrets(container);
    if (!container.loaded) return load_function(id);
    while (auto frame = container.runner->receive()) {
      switch (frame->header.type) {
        case FrameType::stop:
          return end(id, 0);
        case FrameType::batch:
          ASSERT_EQ(frame->body.size(), kBatchSize);
          std::memcpy(&container.batches.emplace_back(), frame->body.data(), kBatchSize);
          break;
        case FrameType::input:
          container.inputs.push_back(std::move(*frame));
          break;
        case FrameType::cancel:
          cancel(container, frame->header);
          break;
        case FrameType::call_result:
          if (container.function != "outer") {
            container.others.push_back(std::move(*frame));
            break;
          }
          container.runner->send(FrameType::result, "outer of " + frame->body,
                                 container.outer.stream, container.outer.attempt);
          break;
        default:
          container.others.push_back(std::move(*frame));
          break;
      }
    }
    if (container.function == "crash" && !container.inputs.empty()) {
      container.runner->send(FrameType::log, "\2about to fall\n", container.inputs[0].header.stream,
                             1);
      crashing_.push_back(id);
      container.inputs.clear();
      return;
    }
    answer_inputs(container);
  }

  void await_secrets(FakeContainer& container) {
    auto frame = container.runner->receive();
    if (!frame) return;
    ASSERT_EQ(frame->header.type, FrameType::secrets);
    container.secrets.push_back(std::move(frame->body));
    container.secrets_missing = 0;
  }

  void load_function(ContainerId id) {
    FakeContainer& container = containers.at(id);
    container.loaded = true;
    if (container.function == "late" || late_versions.contains(container.version)) return;
    clock_.advance(load);
    const bool broken =
        container.function == "broken" || broken_versions.contains(container.version);
    if (!broken) return container.runner->send(FrameType::ready, "{}");
    container.runner->send(FrameType::failed,
                           R"({"kind": "load_failed", "type": "ImportError", "message": "no x"})");
    failing_.push_back(id);
  }

  void cancel(FakeContainer& container, const FrameHeader& header) {
    if (container.function != "slow") return;
    std::erase_if(container.inputs,
                  [&](const auto& input) { return input.header.stream == header.stream; });
    container.runner->send(FrameType::error, R"({"kind": "cancelled", "type": "InputCancelled"})",
                           header.stream, header.attempt);
  }

  void answer_inputs(FakeContainer& container) {
    FakeRunner& runner = *container.runner;
    if (container.function == "slow" || container.function == "stubborn") return;
    for (const FakeRunner::Frame& input : std::exchange(container.inputs, {})) {
      const FrameHeader& header = input.header;
      const std::string arguments = input.body.substr(8);
      if (container.function == "raise") {
        runner.send(FrameType::error,
                    R"({"kind": "user_exception", "type": "ValueError", "message": "bad page"})",
                    header.stream, header.attempt);
      } else if (container.function == "outer") {
        const std::string head = R"({"app": "docs", "function": "echo"})";
        const auto length = static_cast<std::uint16_t>(head.size());
        runner.send(FrameType::call,
                    std::string(reinterpret_cast<const char*>(&length), 2) + head + arguments, 5);
        container.outer = header;
      } else {
        runner.send(FrameType::log, "\1read " + arguments + "\n", header.stream, header.attempt);
        runner.send(FrameType::result, arguments, header.stream, header.attempt);
      }
    }
  }

  FakeClock& clock_;
  NodeObserver* observer_ = nullptr;
  std::vector<ContainerId> failing_, crashing_;  // end at the next turn
};

}  // namespace ember
