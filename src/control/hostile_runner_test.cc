// A runner runs code that strangers wrote: it may send any frame at any time, and harms none but
// its own calls.
#include <cstring>

#include "base/random.h"
#include "control/control_fixture.h"

namespace ember {
namespace {

constexpr std::uint64_t kSeed = 20261126;
constexpr int kRounds = 150;

std::string call_frame(const std::string& head) {
  const auto length = static_cast<std::uint16_t>(head.size());
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + head + "{}";
}

constexpr int kFrameTypes = static_cast<int>(FrameType::progress) + 1;

class HostileRunnerTest : public ControlTest {
 protected:
  FakeContainer* container_of(const std::string& function) {
    for (auto& [id, container] : node.containers) {
      if (container.function == function) return &container;
    }
    return nullptr;
  }

  template <class Values>
  const auto& one_of(const Values& values) {
    return values[random.below(std::size(values))];
  }

  void send_anything(FakeRunner& runner, CallId own, CallId other) {
    const std::string bodies[] = {"",
                                  "{",
                                  "null",
                                  "\1text\n",
                                  "\2\xff\xfe",
                                  std::string(70'000, 'x'),
                                  R"({"protocol": 1, "state": "loading"})",
                                  R"({"protocol": 9})",
                                  R"({"kind": "cancelled"})",
                                  R"({"kind": "user_exception", "status": 999})",
                                  call_frame(R"({"app": "docs", "function": "echo"})"),
                                  call_frame(R"({"app": "docs", "function": "slow"})"),
                                  call_frame("[]"),
                                  call_frame(R"({"kind": "dict", "name": "d", "action": "get"})"),
                                  R"({"step": 1, "total": null, "metrics": {}})",
                                  call_frame(std::string(2000, '['))};
    const std::uint64_t streams[] = {0, 1, own.value, own.value, other.value, UINT64_MAX};
    const std::uint16_t attempts[] = {0, 1, 1, 1, 2, UINT16_MAX};
    const auto type = static_cast<FrameType>(random.below(kFrameTypes));
    const auto format = static_cast<BodyFormat>(random.below(20) == 0 ? 0x80 : random.below(4));
    runner.send(type, one_of(bodies), one_of(streams), one_of(attempts), format);
  }

  Random random{kSeed};
};

// Each is refused, and the answers wait in the server until it reads them.
TEST_F(HostileRunnerTest, IsNotHeardWhileItDoesNotReadWhatItIsAnswered) {
  must_deploy("docs", {function("slow")});
  Caller caller;
  must_start("docs", "slow", caller);
  until([&] { return container_of("slow") && !container_of("slow")->inputs.empty(); });
  FakeRunner& runner = *container_of("slow")->runner;
  const auto head =
      encode({.length = 0, .type = FrameType::call, .format = 0, .attempt = 0, .stream = 1});
  std::string calls;
  for (int i = 0; i < 4096; ++i) calls.append(head.data(), head.size());
  constexpr std::size_t kFarTooMany = 2'000'000;
  std::size_t sent = 0;  // bytes
  for (int unheard = 0; unheard < 100 && sent < kFarTooMany * head.size();) {
    const std::size_t taken = runner.offer(std::string_view(calls).substr(sent % head.size()));
    sent += taken;
    unheard = taken > 0 ? 0 : unheard + 1;
    loop->restart();
    loop->poll();
  }
  EXPECT_LT(sent / head.size(), kFarTooMany);
}

TEST_F(HostileRunnerTest, HarmsNoneButItsOwnCalls) {
  must_deploy("docs", {function("slow"), function("echo")});
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE("seed " + std::to_string(kSeed) + " round " + std::to_string(round));
    Caller hostile, good;
    const CallId own = must_start("docs", "slow", hostile);
    until([&] {
      if (hostile.done()) return true;
      const FakeContainer* container = container_of("slow");
      if (!container || container->inputs.empty()) pass(Duration::milliseconds(100));
      return container && !container->inputs.empty();
    });
    const CallId other = must_start("docs", "echo", good, R"({"n": 1})");
    if (FakeContainer* container = container_of("slow")) {
      for (std::uint64_t i = 1 + random.below(12); i > 0 && container->runner; --i) {
        send_anything(*container->runner, own, other);
        if (random.below(3) == 0) control->tick();
      }
    }
    until([&] { return good.done(); });
    ASSERT_TRUE(good.result) << good.failure->error.message;
    EXPECT_EQ(good.result->bytes, R"({"n": 1})");
    (void)control->cancel_call(own).ok();
    until([&] {
      if (!hostile.done()) pass(Duration::seconds(1));
      return hostile.done();
    });
  }
}

}  // namespace
}  // namespace ember
