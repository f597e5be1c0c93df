#include "node/remote_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>

#include "node/message_channel.h"
#include "node/node_messages.h"
#include "node/unix_socket.h"

namespace ember {
namespace {

using testing::HasSubstr;

struct Recorder final : NodeObserver {
  void on_hello(NodeHello) override { ++hellos; }
  void on_lost() override { ++losses; }
  void on_started(ContainerId, Time) override {}
  void on_refused(ContainerId container, std::string why) override {
    refused[container] = std::move(why);
  }
  void on_exited(ContainerExit) override {}
  void on_egress(ContainerId, std::int64_t) override {}
  void on_devices(std::vector<Device>, std::vector<std::string>) override {}
  void on_runner(ContainerId, UniqueFd) override {}
  void on_remounted(ContainerId, std::string, Result<>) override {}
  void on_build_line(std::string, std::string) override {}
  void on_built(std::string image_id, Result<> result) override { built.emplace(image_id, result); }
  void on_image_answer(std::uint64_t, Result<std::string>) override {}
  void on_exec_stream(ExecId exec, ExecStream stream, UniqueFd file) override {
    streams[{exec, stream}] = std::move(file);
  }
  void on_exec_ended(ExecId exec, Result<ExecExit> exit) override { execs.emplace(exec, exit); }
  void on_inspected(std::uint64_t question, Result<std::string> answer) override {
    inspected.emplace(question, std::move(answer));
  }

  int hellos = 0, losses = 0;
  std::map<ContainerId, std::string> refused;
  std::map<std::string, Result<>> built;
  std::map<std::pair<ExecId, ExecStream>, UniqueFd> streams;
  std::map<ExecId, Result<ExecExit>> execs;
  std::map<std::uint64_t, Result<std::string>> inspected;
};

// A node that says hello and keeps what it is asked, while it reads at all.
class DeafNode final : public MessageObserver {
 public:
  DeafNode(boost::asio::io_context& loop, UniqueFd socket)
      : channel_(make_message_channel(loop, std::move(socket))) {
    NodeHello hello;
    hello.node = NodeId{1};
    channel_->send(encode(NodeMessage{hello}));
  }
  void listen() { channel_->start(this); }

  void on_message(std::string_view json, UniqueFd) override {
    auto message = decode_driver_message(json);
    ASSERT_TRUE(message.ok()) << message.error().message;
    if (auto* start = std::get_if<StartRequest>(&*message)) {
      starts.push_back(start->spec.container);
    }
  }
  void on_channel_closed(std::string why) override { closed = std::move(why); }

  std::vector<ContainerId> starts;
  std::string closed;

 private:
  std::unique_ptr<MessageChannel> channel_;
};

class RemoteNodeTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "ember-remote-" + std::to_string(::getpid()) + ".sock";
    auto listener = listen_unix(path_, 0600);
    ASSERT_TRUE(listener.ok()) << listener.error().message;
    listener_ = std::move(*listener);
    client_ = make_remote_node(loop_, path_);
    client_->set_observer(&recorder_);
    run_until([&] {
      UniqueFd socket = accept_one(listener_.get());
      if (socket) node_.emplace(loop_, std::move(socket));
      return recorder_.hellos == 1;
    });
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void run_until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    loop_.restart();
    while (!done()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "what was waited for does not come";
      loop_.run_one_for(std::chrono::milliseconds(10));
    }
  }

  static ContainerSpec spec(std::uint64_t number, std::size_t env_bytes) {
    ContainerSpec spec;
    spec.container = ContainerId{number};
    spec.env = {{"LONG", std::string(env_bytes, 'x')}};
    return spec;
  }

  boost::asio::io_context loop_{1};
  std::string path_;
  UniqueFd listener_;
  std::optional<DeafNode> node_;
  Recorder recorder_;
  std::unique_ptr<NodeClient> client_;
};

TEST_F(RemoteNodeTest, WhatIsTooLongForAMessageIsRefusedAndCutsNothing) {
  node_->listen();
  client_->start(spec(1, kMaxMessageBytes), {});
  ImageSpec image;
  image.steps = {{.kind = "uv_pip_install", .arguments = {std::string(kMaxMessageBytes, 'x')}}};
  client_->build({.name = "im-1", .spec = image});
  client_->start(spec(2, 10), {});
  run_until([&] { return node_->starts.size() == 1 && recorder_.built.contains("im-1"); });
  EXPECT_THAT(recorder_.refused[ContainerId{1}], HasSubstr("the most is 8388608"));
  EXPECT_EQ(recorder_.built.at("im-1").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(node_->starts[0], ContainerId{2});
  EXPECT_EQ(recorder_.losses, 0);
  EXPECT_EQ(node_->closed, "");
}

TEST_F(RemoteNodeTest, MoreThanTheNodeReadsInTimeIsRefusedAndCutsNothing) {
  constexpr std::uint64_t kStarts = 60;
  for (std::uint64_t i = 1; i <= kStarts; ++i) client_->start(spec(i, 1 << 20), {});
  client_->stop(ContainerId{1}, {});
  run_until([&] { return recorder_.refused.contains(ContainerId{kStarts}); });
  EXPECT_THAT(recorder_.refused[ContainerId{kStarts}], HasSubstr("behind"));
  node_->listen();
  run_until([&] { return node_->starts.size() + recorder_.refused.size() == kStarts; });
  EXPECT_GE(node_->starts.size(), 10u);
  EXPECT_EQ(recorder_.losses, 0);
  client_->start(spec(99, 10), {});
  run_until([&] { return node_->starts.back() == ContainerId{99}; });
}

}  // namespace
}  // namespace ember
