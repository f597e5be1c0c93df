#include "node/trial.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/disk_error.h"
#include "node/agent.h"
#include "node/container_files.h"
#include "node/remote_node.h"
#include "node/runner_link.h"

namespace ember {
namespace {

using Json = nlohmann::json;
using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kStepLimit{60};

// What the sandbox is to stop, tried by what runs in it.
constexpr const char* kProbe = R"py(
import os

import ember

app = ember.App("doctor")


@app.function()
def probe():
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file if ":" in line)
    try:
        os.mkdir("/ember-doctor")
        root = "writable"
    except OSError:
        root = "closed"
    return {
        "capabilities": int(status["CapBnd"], 16) | int(status["CapEff"], 16),
        "no_new_privileges": int(status["NoNewPrivs"]),
        "seccomp": int(status["Seccomp"]),
        "root": root,
        "init": os.getppid() in (0, 1),
    }
)py";

std::vector<std::string> holes_in(const Json& seen) {
  std::vector<std::string> holes;
  if (seen.value("capabilities", 1) != 0) holes.emplace_back("it has capabilities");
  if (seen.value("no_new_privileges", 0) != 1) holes.emplace_back("it may gain privileges");
  if (seen.value("seccomp", 0) != 2) holes.emplace_back("no filter of system calls");
  if (seen.value("root", "") != "closed") holes.emplace_back("its root can be written");
  if (!seen.value("init", false)) holes.emplace_back("it is not in a PID namespace of its own");
  return holes;
}

class Trial final : public NodeObserver, public RunnerLinkObserver {
 public:
  explicit Trial(const NodeOptions& options) : options_(options) {}

  Result<TrialReport> run() {
    auto source = write_source();
    if (!source.ok()) return std::move(source).error();
    auto agent = Agent::start(loop_, options_);
    if (!agent.ok()) return std::move(agent).error().within("the node");
    agent_ = std::move(*agent);
    node_ = make_remote_node(loop_, options_.data + "/node/node.sock");
    node_->set_observer(this);
    auto done = steps(std::move(*source));
    if (!done.ok()) give_up();
    link_.reset();
    node_.reset();
    agent_.reset();
    if (!done.ok()) return std::move(done).error();
    return std::move(test_);
  }

 private:
  Result<> steps(UniqueFd source) {
    if (auto met = wait_for("the node's hello", [this] { return hello_; }); !met.ok()) return met;
    node_->start(spec(), std::move(source));
    auto loading = wait_for("the runner", [this] { return hello_frame_; });
    if (!loading.ok()) return loading;
    test_.boot = lap();
    auto ready = wait_for("the function to load", [this] { return ready_; });
    if (!ready.ok()) return ready;
    test_.load = lap();
    link_->send({0, FrameType::input, static_cast<std::uint8_t>(BodyFormat::json), 1, 1},
                std::string_view("\1\0\0\0\0\0\0\0", 8), "{}");
    auto answered = wait_for("the function's result", [this] { return result_.has_value(); });
    if (!answered.ok()) return answered;
    test_.call = lap();
    const Json seen = Json::parse(*result_, nullptr, /*allow_exceptions=*/false);
    if (!seen.is_object()) return fault("the function answered " + *result_);
    if (test_.isolation == "container") test_.holes = holes_in(seen);
    link_->send({0, FrameType::stop, 0, 0, 0}, {}, {});
    auto ended = wait_for("the container's end", [this] { return exit_.has_value(); });
    if (!ended.ok()) return ended;
    test_.stop = lap();
    if (exit_->exit_status != 0) {
      return fault("the container ended with status " + std::to_string(exit_->exit_status) +
                   ", signal " + std::to_string(exit_->signal));
    }
    node_->acknowledge_exit(container_);
    return wait_for("its directory to go",
                    [this] { return containers_on_disk(options_.data + "/node").empty(); });
  }

  static Error fault(std::string what) { return {ErrorCode::start_failed, std::move(what)}; }

  // What is left of the container is ended, however far it came.
  void give_up() {
    bool gone = false;
    agent_->end_containers([&] { gone = true; });
    (void)wait_for("the end of what is left", [&] { return gone; }).ok();
  }

  template <class Holds>
  Result<> wait_for(const char* what, Holds holds) {
    const auto deadline = SteadyClock::now() + kStepLimit;
    loop_.restart();
    while (!holds()) {
      if (!failure_.empty()) return fault(std::exchange(failure_, {}));
      if (SteadyClock::now() > deadline) {
        return {ErrorCode::timed_out, std::string("waited 60 s for ") + what};
      }
      loop_.run_one_for(std::chrono::milliseconds(100));
    }
    return Ok{};
  }

  Duration lap() {
    const auto now = SteadyClock::now();
    const auto passed = now - std::exchange(last_lap_, now);
    return {std::chrono::duration_cast<std::chrono::microseconds>(passed).count()};
  }

  Result<UniqueFd> write_source() const {
    const std::string directory = options_.data + "/source";
    if (::mkdir(directory.c_str(), 0755) != 0) return disk_error(directory, errno);
    ::chmod(directory.c_str(), 0755);
    if (auto written = write_file(directory + "/doctor_probe.py", kProbe, 0644); !written.ok()) {
      return std::move(written).error();
    }
    UniqueFd opened(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!opened) return disk_error(directory, errno);
    return opened;
  }

  ContainerSpec spec() const {
    ContainerSpec one;
    one.container = container_;
    one.resources.memory_bytes = 256ll << 20;
    one.function_json = Json{
        {"protocol", kRunnerProtocolVersion},
        {"container_id", container_.text()},
        {"app", "doctor"},
        {"function", "probe"},
        {"version", 1},
        {"module", "doctor_probe"},
        {"qualname", "probe"},
        {"is_async", false},
        {"max_inputs", 1},
        {"python_path", Json::array()},
        {"source",
         "/source"}}.dump();
    one.labels_json = "{}";
    return one;
  }

  // --- what the node says ---
  void on_hello(NodeHello hello) override {
    hello_ = true;
    test_.isolation = std::move(hello.isolation);
    test_.network = std::move(hello.network);
    test_.missing = std::move(hello.missing);
    container_ = ContainerId{hello.node.value};
    lap();
  }
  void on_lost() override { failure_ = "the node's connection broke"; }
  void on_started(ContainerId, Time) override {}
  void on_refused(ContainerId, std::string why) override { failure_ = std::move(why); }
  void on_egress(ContainerId, std::int64_t) override {}
  void on_devices(std::vector<Device>, std::vector<std::string>) override {}
  void on_exited(ContainerExit exit) override {
    if (!result_) failure_ = "the container ended before it answered: " + exit.last_output;
    exit_ = std::move(exit);
  }
  void on_runner(ContainerId, UniqueFd socket) override {
    link_ = make_runner_link(loop_, std::move(socket), bodies_);
    link_->start(this);
  }
  void on_remounted(ContainerId, std::string, Result<>) override {}
  void on_build_line(std::string, std::string) override {}
  void on_built(std::string, Result<>) override {}
  void on_image_answer(std::uint64_t, Result<std::string>) override {}
  void on_exec_stream(ExecId, ExecStream, UniqueFd) override {}
  void on_exec_ended(ExecId, Result<ExecExit>) override {}
  void on_inspected(std::uint64_t, Result<std::string>) override {}

  // --- what the runner says ---
  void on_frame(const FrameHeader& header, std::string& body) override {
    if (header.type == FrameType::hello) hello_frame_ = true;
    if (header.type == FrameType::ready) ready_ = true;
    if (header.type == FrameType::result) result_ = std::move(body);
    if (header.type == FrameType::failed || header.type == FrameType::error) {
      failure_ = "the function failed: " + body.substr(0, 500);
    }
  }
  void on_closed(std::string_view) override {}

  const NodeOptions options_;
  boost::asio::io_context loop_{1};
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<NodeClient> node_;
  BodyBudget bodies_;
  std::unique_ptr<RunnerLink> link_;
  TrialReport test_;
  ContainerId container_;
  bool hello_ = false, hello_frame_ = false, ready_ = false;
  std::optional<std::string> result_;
  std::optional<ContainerExit> exit_;
  std::string failure_;
  SteadyClock::time_point last_lap_ = SteadyClock::now();
};

}  // namespace

Result<TrialReport> run_trial(const NodeOptions& options) { return Trial(options).run(); }

}  // namespace ember
