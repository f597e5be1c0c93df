#include "node/remote_node.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <spdlog/spdlog.h>
#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <set>

#include "node/message_channel.h"
#include "node/node_messages.h"
#include "node/unix_socket.h"

namespace ember {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kFirstRetry{50};
constexpr milliseconds kLastRetry{1000};
constexpr std::size_t kMaxRequestedBytes = kMaxBytesQueued / 2;  // the rest is for what is short

class RemoteNode final : public NodeClient, private MessageObserver {
 public:
  RemoteNode(boost::asio::io_context& loop, std::string socket_path, std::string volumes_path)
      : loop_(loop),
        socket_path_(std::move(socket_path)),
        volumes_path_(std::move(volumes_path)),
        timer_(loop) {}

  void set_observer(NodeObserver* observer) override {
    observer_ = observer;
    if (!channel_) retry_in(milliseconds(0));
  }

  void start(ContainerSpec spec, UniqueFd source) override {
    const ContainerId container = spec.container;
    auto sent = request(StartRequest{std::move(spec)}, std::move(source));
    if (sent.ok()) return;
    later([this, container, why = sent.error().message] { observer_->on_refused(container, why); });
  }
  void stop(ContainerId container, Duration grace) override { send(StopRequest{container, grace}); }
  void interrupt(ContainerId container) override { send(InterruptRequest{container}); }
  void acknowledge_exit(ContainerId container) override { send(AcknowledgeExit{container}); }

  void remount(ContainerId container, VolumeOverlay volume) override {
    const std::string path = volume.path;
    auto sent = request(RemountRequest{container, std::move(volume)});
    if (sent.ok()) return;
    later([this, container, path, sent] { observer_->on_remounted(container, path, sent); });
  }

  void build(BuildOrder order) override {
    Result<> sent = Ok{};
    if (order.credentials) {
      sent = request(BuildCredentials{order.name}, std::move(order.credentials));
    }
    if (sent.ok()) {
      sent = request(BuildRequest{order.name, std::move(order.spec), std::move(order.push_to)},
                     std::move(order.sources));
    }
    if (sent.ok()) {
      builds_.insert(std::move(order.name));
    } else {
      later([this, name = order.name, sent] { observer_->on_built(name, sent); });
    }
  }
  void ask_images(ImageQuery query) override {
    const std::uint64_t number = query.query;
    auto sent = request(std::move(query));
    if (sent.ok()) {
      queries_.insert(number);
    } else {
      later([this, number, sent] { observer_->on_image_answer(number, sent.error()); });
    }
  }

  void exec(ExecId exec, ContainerId container, ExecSpec spec) override {
    auto sent = request(ExecRequest{exec, container, std::move(spec)});
    if (sent.ok()) {
      execs_.insert(exec);
    } else {
      later([this, exec, sent] { observer_->on_exec_ended(exec, sent.error()); });
    }
  }
  void end_exec(ExecId exec) override { send(EndExecRequest{exec}); }

  void inspect(std::uint64_t question, ContainerId container, ProcessQuery what) override {
    auto sent = request(InspectRequest{question, container, what});
    if (sent.ok()) {
      questions_.insert(question);
    } else {
      later([this, question, sent] { observer_->on_inspected(question, sent.error()); });
    }
  }

 private:
  void send(const DriverMessage& message, UniqueFd file = {}) {
    if (channel_) channel_->send(encode(message), std::move(file));
  }

  // Sends what may be refused instead.
  Result<> request(const DriverMessage& message, UniqueFd file = {}) {
    if (!said_hello_) return {ErrorCode::unavailable, "the node is not connected; try again"};
    std::string json = encode(message);
    if (json.size() > kMaxMessageBytes) {
      return {ErrorCode::invalid_argument,
              "its settings make a message of " + std::to_string(json.size()) +
                  " bytes; the most is " + std::to_string(kMaxMessageBytes)};
    }
    if (channel_->bytes_queued() + json.size() > kMaxRequestedBytes) {
      return {ErrorCode::unavailable, "the node is behind in reading its messages; try again"};
    }
    channel_->send(std::move(json), std::move(file));
    return Ok{};
  }

  // Runs it from the loop, unless the node has been destroyed by then.
  template <class Function>
  void later(Function function) {
    boost::asio::post(loop_, [alive = std::weak_ptr<int>(alive_), function = std::move(function)] {
      if (!alive.expired()) function();
    });
  }

  void retry_in(milliseconds delay) {
    timer_.expires_after(delay);
    timer_.async_wait([this](auto error) {
      if (!error) connect();
    });
  }

  void connect() {
    auto socket = connect_unix(socket_path_);
    if (!socket.ok()) {
      retry_in(delay_);
      delay_ = std::min(delay_ * 2, kLastRetry);
      return;
    }
    channel_ = make_message_channel(loop_, std::move(*socket));
    channel_->start(this);
    send(DriverHello{}, UniqueFd(::open(volumes_path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)));
  }

  void on_channel_closed(std::string why) override {
    channel_.reset();
    const bool had_hello = std::exchange(said_hello_, false);
    retry_in(delay_);
    delay_ = std::min(delay_ * 2, kLastRetry);
    if (!had_hello) return;
    spdlog::warn("the node's connection broke: {}", why);
    for (const std::string& image_id : std::exchange(builds_, {})) fail_build(image_id);
    const Error broke{ErrorCode::unavailable, "the node's connection broke; try again"};
    for (const ExecId exec : std::exchange(execs_, {})) observer_->on_exec_ended(exec, broke);
    for (const auto question : std::exchange(questions_, {})) {
      observer_->on_inspected(question, broke);
    }
    for (const auto query : std::exchange(queries_, {})) {
      observer_->on_image_answer(query, broke);
    }
    observer_->on_lost();
  }

  void fail_build(const std::string& image_id) {
    observer_->on_built(image_id,
                        Error{ErrorCode::unavailable, "the node's connection broke; deploy again"});
  }

  void on_message(std::string_view json, UniqueFd file) override {
    auto message = decode_node_message(json);
    if (!message.ok()) {
      channel_.reset();
      return on_channel_closed("the node sent a message of another kind: " +
                               message.error().message);
    }
    std::visit([&](auto& m) { take(m, std::move(file)); }, *message);
  }

  void take(NodeHello& hello, UniqueFd) {
    said_hello_ = true;
    delay_ = kFirstRetry;
    observer_->on_hello(std::move(hello));
  }
  void take(StartedNotice& m, UniqueFd) { observer_->on_started(m.container, m.at); }
  void take(RefusedNotice& m, UniqueFd) { observer_->on_refused(m.container, std::move(m.why)); }
  void take(EgressNotice& m, UniqueFd) { observer_->on_egress(m.container, m.total_bytes); }
  void take(DevicesNotice& m, UniqueFd) {
    observer_->on_devices(std::move(m.devices), std::move(m.missing));
  }
  void take(ContainerExit& m, UniqueFd) { observer_->on_exited(std::move(m)); }
  void take(RunnerConnected& m, UniqueFd file) {
    if (file) observer_->on_runner(m.container, std::move(file));
  }
  void take(BuildLine& m, UniqueFd) {
    observer_->on_build_line(std::move(m.image_id), std::move(m.line));
  }
  void take(VolumeRemounted& m, UniqueFd) {
    observer_->on_remounted(m.container, std::move(m.path), std::move(m.result));
  }
  void take(ImageBuilt& m, UniqueFd) {
    builds_.erase(m.image_id);
    observer_->on_built(std::move(m.image_id), std::move(m.result));
  }
  void take(ExecStreamReady& m, UniqueFd file) {
    if (file) observer_->on_exec_stream(m.exec, m.stream, std::move(file));
  }
  void take(ExecEnded& m, UniqueFd) {
    if (execs_.erase(m.exec) > 0) observer_->on_exec_ended(m.exec, std::move(m.exit));
  }
  void take(Inspected& m, UniqueFd) {
    if (questions_.erase(m.question) > 0) {
      observer_->on_inspected(m.question, std::move(m.answer));
    }
  }

  void take(ImageAnswer& m, UniqueFd) {
    if (queries_.erase(m.query) > 0) observer_->on_image_answer(m.query, std::move(m.document));
  }

  boost::asio::io_context& loop_;
  const std::string socket_path_;
  const std::string volumes_path_;
  NodeObserver* observer_ = nullptr;
  std::unique_ptr<MessageChannel> channel_;
  boost::asio::steady_timer timer_;
  milliseconds delay_ = kFirstRetry;
  bool said_hello_ = false;
  std::set<std::string> builds_;     // asked for and not ended
  std::set<std::uint64_t> queries_;  // the same
  std::set<ExecId> execs_;           // the same
  std::set<std::uint64_t> questions_;
  // Posted handlers ask it whether the node still lives.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

std::unique_ptr<NodeClient> make_remote_node(boost::asio::io_context& loop, std::string socket_path,
                                             std::string volumes_path) {
  return std::make_unique<RemoteNode>(loop, std::move(socket_path), std::move(volumes_path));
}

}  // namespace ember
