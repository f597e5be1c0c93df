#include "node/node_messages.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

ContainerExit an_exit() {
  ContainerExit exit;
  exit.container = ContainerId{7};
  exit.started = Time::from_ms(1000);
  exit.at = Time::from_ms(2000);
  exit.egress_bytes = 5'000'000'000;
  exit.exit_status = 0;
  return exit;
}

TEST(NodeMessages, CarryWhatHasLeftAContainer) {
  const auto notice = decode_node_message(encode(NodeMessage(EgressNotice{ContainerId{7}, 42})));
  ASSERT_TRUE(notice.ok());
  EXPECT_EQ(std::get<EgressNotice>(*notice).container, ContainerId{7});
  EXPECT_EQ(std::get<EgressNotice>(*notice).total_bytes, 42);

  NodeHello hello;
  hello.node = NodeId{1};
  hello.containers.push_back({ContainerId{7}, "", {}, Time::from_ms(1000), 43});
  const auto greeting = decode_node_message(encode(NodeMessage(hello)));
  ASSERT_TRUE(greeting.ok());
  EXPECT_EQ(std::get<NodeHello>(*greeting).containers.at(0).egress_bytes, 43);

  const auto exit = decode_exit(encode(NodeMessage(an_exit())));
  ASSERT_TRUE(exit.ok());
  EXPECT_EQ(exit->egress_bytes, 5'000'000'000);
}

TEST(NodeMessages, ReadAnExitThatWasWrittenBeforeEgressWasMetered) {
  std::string text = encode(NodeMessage(an_exit()));
  const std::string field = "\"egress_bytes\":5000000000,";
  ASSERT_NE(text.find(field), std::string::npos);
  text.erase(text.find(field), field.size());
  const auto exit = decode_exit(text);
  ASSERT_TRUE(exit.ok());
  EXPECT_EQ(exit->egress_bytes, 0);
  EXPECT_EQ(exit->at, Time::from_ms(2000));
}

TEST(NodeMessages, CarrySharesOfADeviceAndWhatWasUsedOfOne) {
  StartRequest start;
  start.spec.container = ContainerId{7};
  start.spec.resources.gpu = {{{"L4", 1}}, 6'000'000'000};
  const auto order = decode_driver_message(encode(DriverMessage(start)));
  ASSERT_TRUE(order.ok()) << order.error().message;
  EXPECT_EQ(std::get<StartRequest>(*order).spec.resources.gpu, start.spec.resources.gpu);

  ContainerExit exit = an_exit();
  exit.gpu_used_bytes = 7'100'000'000;
  EXPECT_EQ(decode_exit(encode(NodeMessage(exit)))->gpu_used_bytes, 7'100'000'000);

  Device device{.id = DeviceId{3}, .type = "L4"};
  device.uuid = "GPU-5b1c";
  const auto told =
      decode_node_message(encode(NodeMessage(DevicesNotice{{device}, {"shares are not watched"}})));
  ASSERT_TRUE(told.ok()) << told.error().message;
  EXPECT_EQ(std::get<DevicesNotice>(*told).devices.at(0).uuid, "GPU-5b1c");
  EXPECT_EQ(std::get<DevicesNotice>(*told).missing.at(0), "shares are not watched");
}

TEST(NodeMessages, CarryWhereAContainerCanSendToAndRefuseAnOrderThatDoesNotSay) {
  StartRequest start;
  start.spec.container = ContainerId{7};
  start.spec.sandbox = {.network = *listed_destinations({"203.0.113.0/24", "*.example.org"}),
                        .isolation = IsolationClass::gvisor,
                        .ephemeral_disk_bytes = 1ll << 30};
  std::string text = encode(DriverMessage(start));
  const auto read = decode_driver_message(text);
  ASSERT_TRUE(read.ok()) << read.error().message;
  const SandboxSettings& sandbox = std::get<StartRequest>(*read).spec.sandbox;
  EXPECT_EQ(sandbox.network, start.spec.sandbox.network);
  EXPECT_EQ(sandbox.isolation, IsolationClass::gvisor);
  EXPECT_EQ(sandbox.ephemeral_disk_bytes, 1ll << 30);
  const std::string field = ",\"network\":\"listed\"";
  ASSERT_NE(text.find(field), std::string::npos);
  EXPECT_FALSE(decode_driver_message(text.replace(text.find(field), field.size(), "")).ok());
}

TEST(NodeMessages, CarryTheVolumesOfAContainerAndWhatBecameOfOneThatIsMountedAnew) {
  StartRequest start;
  start.spec.container = ContainerId{7};
  start.spec.volumes = {{"/data", {"empty/a", "layers/x"}, "uppers/ct/0"}};
  const auto read = decode_driver_message(encode(DriverMessage(start)));
  ASSERT_TRUE(read.ok()) << read.error().message;
  const VolumeOverlay& volume = std::get<StartRequest>(*read).spec.volumes.at(0);
  EXPECT_EQ(volume.path, "/data");
  EXPECT_EQ(volume.lowers, (std::vector<std::string>{"empty/a", "layers/x"}));
  EXPECT_EQ(volume.upper, "uppers/ct/0");

  const auto remount =
      decode_driver_message(encode(DriverMessage(RemountRequest{ContainerId{7}, volume})));
  ASSERT_TRUE(remount.ok()) << remount.error().message;
  EXPECT_EQ(std::get<RemountRequest>(*remount).volume.lowers, volume.lowers);
  const Error busy{ErrorCode::conflict, "files are open"};
  const auto done =
      decode_node_message(encode(NodeMessage(VolumeRemounted{ContainerId{7}, "/data", busy})));
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(std::get<VolumeRemounted>(*done).result.error().message, "files are open");
}

TEST(NodeMessages, CarryACommandAndItsEnd) {
  const ExecSpec spec{{"ls", "-l", "a b"}, TerminalSize{24, 80}, "xterm"};
  const auto asked =
      decode_driver_message(encode(DriverMessage(ExecRequest{ExecId{3}, ContainerId{7}, spec})));
  ASSERT_TRUE(asked.ok()) << asked.error().message;
  const auto& request = std::get<ExecRequest>(*asked);
  EXPECT_EQ(request.exec, ExecId{3});
  EXPECT_EQ(request.spec.arguments, spec.arguments);
  ASSERT_TRUE(request.spec.terminal);
  EXPECT_EQ(request.spec.terminal->columns, 80);

  for (const ExecStream stream : {ExecStream::terminal, ExecStream::input, ExecStream::errors}) {
    const auto ready = decode_node_message(encode(NodeMessage(ExecStreamReady{ExecId{3}, stream})));
    ASSERT_TRUE(ready.ok());
    EXPECT_EQ(std::get<ExecStreamReady>(*ready).stream, stream);
  }
  const auto ended = decode_node_message(encode(NodeMessage(ExecEnded{ExecId{3}, ExecExit{7, 0}})));
  ASSERT_TRUE(ended.ok());
  EXPECT_EQ(std::get<ExecEnded>(*ended).exit->status, 7);
  const auto failed = decode_node_message(
      encode(NodeMessage(ExecEnded{ExecId{3}, Error{ErrorCode::not_found, "gone"}})));
  ASSERT_TRUE(failed.ok());
  EXPECT_EQ(std::get<ExecEnded>(*failed).exit.error().code, ErrorCode::not_found);
}

TEST(NodeMessages, CarryAQuestionAboutAContainerAndItsAnswer) {
  const auto asked = decode_driver_message(
      encode(DriverMessage(InspectRequest{9, ContainerId{7}, ProcessQuery::stacks})));
  ASSERT_TRUE(asked.ok());
  EXPECT_EQ(std::get<InspectRequest>(*asked).what, ProcessQuery::stacks);
  const auto answer = decode_node_message(encode(NodeMessage(Inspected{9, std::string("{}")})));
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(*std::get<Inspected>(*answer).answer, "{}");
  EXPECT_FALSE(decode_driver_message(R"({"type": "inspect", "container": "ct-0000000000007",
                                        "question": 1, "what": "secrets"})")
                   .ok());
  EXPECT_FALSE(decode_driver_message(R"({"type": "inspect", "container": "ct-0000000000007",
                                        "question": -1, "what": "stacks"})")
                   .ok());
}

TEST(NodeMessages, WithANumberThatItsFieldCannotHoldAreRefused) {
  const auto stop = [](const char* grace) {
    return decode_driver_message(
        R"({"type": "stop", "container": "ct-0000000000007", "grace_us": )" + std::string(grace) +
        "}");
  };
  EXPECT_TRUE(stop("9223372036854775807").ok());
  EXPECT_FALSE(stop("9223372036854775808").ok());
  EXPECT_FALSE(stop("1e3").ok());
  EXPECT_FALSE(decode_driver_message(R"({"type": "hello", "protocol": 4294967299})").ok());
}

TEST(NodeMessages, AreRefusedBeforeTheyAreBuiltWhereTheirShapeIsSenseless) {
  const std::string deep(7 << 20, '[');
  std::string wide = "{";
  for (int i = 0; i < 2'000; ++i) wide += "\"k" + std::to_string(i) + "\":0,";
  for (const std::string& text : {deep, "{\"type\":" + deep, wide + "\"type\":\"hello\"}"}) {
    EXPECT_FALSE(decode_driver_message(text).ok());
    EXPECT_FALSE(decode_node_message(text).ok());
  }
}

}  // namespace
}  // namespace ember
