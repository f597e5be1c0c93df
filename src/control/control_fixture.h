// A whole LiveControl for tests: a real store and disk, a clock of the test's own, and a node that
// runs its "containers" in the test: each has a runner at the other end of a socket pair that
// speaks real frames and does what the name of its function says.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "control/digest.h"
#include "control/json.h"
#include "control/live_control.h"
#include "control/price_file.h"
#include "model/gpu.h"
#include "node/frame.h"

namespace ember {

class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = testing::TempDir() + "ember-control-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class FakeClock final : public Clock {
 public:
  Time now() override { return now_; }
  void advance(Duration by) { now_ = now_ + by; }

 private:
  Time now_{1'764'072'000'000'000};  // 2025-11-25 12:00 UTC
};

// The other end of a runner's socket.
class FakeRunner {
 public:
  struct Frame {
    FrameHeader header;
    std::string body;
    UniqueFd file;
  };

  explicit FakeRunner(UniqueFd socket) : socket_(std::move(socket)) {}

  void send(FrameType type, std::string_view body, std::uint64_t stream = 0,
            std::uint16_t attempt = 0, BodyFormat format = BodyFormat::json) {
    const FrameHeader header{static_cast<std::uint32_t>(body.size()), type,
                             static_cast<std::uint8_t>(format), attempt, stream};
    const auto head = encode(header);
    std::string bytes(head.data(), head.size());
    bytes += body;
    // The server may have closed its end; that is found elsewhere.
    (void)::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }

  // A frame, if a whole one has come.
  std::optional<Frame> receive() {
    pull();
    if (buffer_.size() < kFrameHeaderSize) return std::nullopt;
    std::array<char, kFrameHeaderSize> head;
    std::memcpy(head.data(), buffer_.data(), head.size());
    const auto header = decode(head);
    if (!header || buffer_.size() < kFrameHeaderSize + header->length) return std::nullopt;
    Frame frame{*header, buffer_.substr(kFrameHeaderSize, header->length), {}};
    buffer_.erase(0, kFrameHeaderSize + header->length);
    if ((header->format & kFrameBodyInFile) && !files_.empty()) {
      frame.file = std::move(files_.front());
      files_.pop_front();
    }
    return frame;
  }

 private:
  void pull() {
    char bytes[65536];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    iovec vector{bytes, sizeof bytes};
    for (;;) {
      msghdr message{};
      message.msg_iov = &vector;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (got <= 0) return;
      buffer_.append(bytes, static_cast<std::size_t>(got));
      if (const cmsghdr* header = CMSG_FIRSTHDR(&message)) {
        int file;
        std::memcpy(&file, CMSG_DATA(header), sizeof file);
        files_.emplace_back(file);
      }
    }
  }

  UniqueFd socket_;
  std::string buffer_;
  std::deque<UniqueFd> files_;
};

struct FakeContainer {
  ContainerSpec spec;
  std::string function;
  Time started;
  std::unique_ptr<FakeRunner> runner;
  std::vector<FakeRunner::Frame> inputs;  // that nobody has answered
  FrameHeader outer;                      // the input that called another function
  bool loaded = false, stop_asked = false, killed = false;
  std::int64_t egress_bytes = 0;
};

// Starts at once and answers at once, unless the function's name asks for something else:
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
  void build(std::string id, ImageSpec) override { builds.push_back(std::move(id)); }

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
    unacknowledged[id] = exit;
    containers.erase(id);
    if (observer_) observer_->on_exited(exit);
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
  std::vector<ContainerId> interrupted, acknowledged;
  Duration boot = Duration::milliseconds(300), load = Duration::milliseconds(200);
  bool has_source = false;

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
    container.spec = std::move(spec);
    container.function = function;
    container.started = clock_.now();
    observer_->on_started(id, container.started);
    clock_.advance(boot);
    connect_runner(id);
    container.runner->send(FrameType::hello, R"({"protocol": 1, "state": "loading"})");
  }

  void run_container(ContainerId id) {
    FakeContainer& container = containers.at(id);
    if (container.killed) return end(id, -1, SIGKILL);
    if (!container.runner) return;
    if (!container.loaded) return load_function(id);
    while (auto frame = container.runner->receive()) {
      switch (frame->header.type) {
        case FrameType::stop:
          return end(id, 0);
        case FrameType::input:
          container.inputs.push_back(std::move(*frame));
          break;
        case FrameType::cancel:
          cancel(container, frame->header);
          break;
        case FrameType::call_result:
          container.runner->send(FrameType::result, "outer of " + frame->body,
                                 container.outer.stream, container.outer.attempt);
          break;
        default:
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

  void load_function(ContainerId id) {
    FakeContainer& container = containers.at(id);
    container.loaded = true;
    clock_.advance(load);
    if (container.function != "broken") return container.runner->send(FrameType::ready, "{}");
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

// A caller that keeps what it is told.
struct Caller final : CallWaiter {
  void on_result(Body value, const CallReport& given) override {
    EXPECT_FALSE(done()) << "answered twice";
    result = std::move(value);
    report = given;
  }
  void on_failure(CallFailure given, const CallReport& of) override {
    EXPECT_FALSE(done()) << "answered twice";
    failure = std::move(given);
    report = of;
  }
  bool done() const { return result || failure; }

  std::optional<Body> result;
  std::optional<CallFailure> failure;
  CallReport report;
};

class ControlTest : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void TearDown() override { close(); }

  // Opens the store and the control on the same directory, and lets the node connect.
  void open() {
    auto book = parse_price_book(price_text(), date_of(clock.now()));
    ASSERT_TRUE(book.ok()) << book.error().message;
    prices = std::move(book).value();
    Snapshot snapshot;
    auto opened = open_sqlite_store(directory.path(), snapshot);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    store = std::move(opened).value();
    control = std::make_unique<LiveControl>(
        LiveControlOptions{.data = directory.path(), .version = "0.1.0"}, *loop, clock,
        wrapped_store(), std::move(snapshot), node, prices);
    ASSERT_TRUE(control->start().ok());
    until([&] { return node.is_observed(); });
    node.connect();
  }
  // As kill -9 does to the server, but for what is still on its way to the disk.
  void close() {
    node.forget_server();
    control.reset();
    store.reset();
    loop = std::make_unique<boost::asio::io_context>();
  }
  virtual Store& wrapped_store() { return *store; }

  // One free of every GPU type of the house, and all meters.
  static std::string price_text() {
    JsonValue rows = JsonValue::array();
    const auto add = [&](const char* provider, const char* meter, std::string_view gpu,
                         const char* usd) {
      JsonValue row = {{"provider", provider}, {"sku", "s"},
                       {"meter", meter},       {"kind", "serverless"},
                       {"usd", usd},           {"valid_from", "2020-01-01"},
                       {"source", "a test"},   {"fetched_at", "2025-01-01"}};
      if (!gpu.empty()) row["gpu"] = gpu;
      rows.push_back(std::move(row));
    };
    for (const GpuType& type : gpu_types()) add("local", "gpu", type.name, "0.72");
    add("local", "cpu", "", "0.036");
    add("local", "memory", "", "0.0036");
    add("local", "egress", "", "0.09");
    add("dear", "gpu", "L4", "3.6");
    add("cheap", "gpu", "L4", "0.36");
    add("cheap", "cpu", "", "0.0036");
    return dump_json({{"format", 1}, {"prices", std::move(rows)}, {"markups", JsonValue::array()}});
  }

  // Runs the loop and the machine until it holds. Fails after ten seconds of real time.
  template <class Holds>
  void until(Holds holds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!holds()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "it never came";
      turn();
    }
  }
  void turn() {
    loop->restart();
    loop->run_one_for(std::chrono::milliseconds(1));
    loop->poll();
    if (!node.is_observed()) return;
    node.run();
    control->tick();
  }
  void pass(Duration time) {
    clock.advance(time);
    control->tick();
  }

  template <class Value, class Ask>
  Result<Value> wait_for(Ask ask) {
    std::optional<Result<Value>> answer;
    ask([&](Result<Value> given) { answer = std::move(given); });
    until([&] { return answer.has_value(); });
    return answer ? std::move(*answer) : Result<Value>(ErrorCode::internal, "no answer");
  }

  std::string upload(const std::string& bytes = "print()\n") {
    const std::string sha = hex(sha256(bytes));
    EXPECT_TRUE(wait_for<Ok>([&](auto done) { control->put_blob(sha, bytes, done); }).ok());
    const std::string manifest = dump_json(
        {{"files", {{{"path", "app.py"}, {"sha256", sha}, {"size_bytes", bytes.size()}}}}});
    const auto uploaded =
        wait_for<UploadResult>([&](auto done) { control->register_source(manifest, done); });
    EXPECT_TRUE(uploaded.ok());
    return uploaded->digest;
  }

  // `fields` are those of the function beside its name, as JSON members.
  static JsonValue function(const std::string& name, const std::string& fields = "") {
    return JsonValue::parse(R"({"name": ")" + name + R"(", "module": "app", "qualname": ")" + name +
                            R"(")" + (fields.empty() ? "" : ", " + fields) + "}");
  }
  Result<std::string> deploy(const std::string& app, std::vector<JsonValue> functions,
                             bool ephemeral = false) {
    build();
    const std::string request = dump_json(
        {{"ephemeral", ephemeral}, {"source", upload()}, {"functions", std::move(functions)}});
    return wait_for<std::string>([&](auto done) { control->deploy(app, request, done); });
  }
  void must_deploy(const std::string& app, std::vector<JsonValue> functions,
                   bool ephemeral = false) {
    const auto deployed = deploy(app, std::move(functions), ephemeral);
    ASSERT_TRUE(deployed.ok()) << deployed.error().message;
  }
  // The image of every function here.
  void build() {
    struct Watch final : BuildObserver {
      void on_line(std::string_view) override {}
      void on_end(const std::string&, Result<> given) override { result = std::move(given); }
      std::optional<Result<>> result;
    };
    const auto watch = std::make_shared<Watch>();
    control->build_image(R"({"base": "host", "steps": []})", watch);
    until([&] { return watch->result.has_value(); });
    ASSERT_TRUE(watch->result && watch->result->ok());
  }

  Result<CallId> start(const std::string& app, const std::string& name, Caller& caller,
                       std::string arguments = "{}") {
    return control->start_call({app, name, {BodyFormat::json, std::move(arguments)}}, &caller);
  }
  CallId must_start(const std::string& app, const std::string& name, Caller& caller,
                    std::string arguments = "{}") {
    auto started = start(app, name, caller, std::move(arguments));
    EXPECT_TRUE(started.ok()) << (started.ok() ? "" : started.error().message);
    return started.ok() ? *started : CallId{};
  }
  void call(const std::string& app, const std::string& name, Caller& caller,
            std::string arguments = "{}") {
    must_start(app, name, caller, std::move(arguments));
    until([&] { return caller.done(); });
  }
  void until_running() {
    until([&] { return node.containers.size() == 1 && !node.only().inputs.empty(); });
  }

  std::vector<CostRow> bill(std::vector<CostGroup> by) {
    auto rows = wait_for<std::vector<CostRow>>([&](auto done) {
      store->query_cost({by, "", {}, Time::never()}, [this, done](auto found) {
        boost::asio::post(*loop, [done, found = std::move(found)] { done(found); });
      });
    });
    return std::move(rows).value();
  }
  static LogQuery logs_of(const std::string& app) {
    LogQuery query;
    query.app = app;
    return query;
  }
  static JsonValue json(const std::string& text) { return JsonValue::parse(text); }

  TempDirectory directory;
  FakeClock clock;
  FakeNode node{clock};
  PriceBook prices;
  std::unique_ptr<boost::asio::io_context> loop = std::make_unique<boost::asio::io_context>();
  std::unique_ptr<Store> store;
  std::unique_ptr<LiveControl> control;
};

}  // namespace ember
