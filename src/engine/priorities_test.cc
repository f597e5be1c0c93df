// Which of a pool's waiting inputs goes first.
#include "engine/engine_fixture.h"

namespace ember {
namespace {

class Priorities : public EngineFixture {
 protected:
  static constexpr KeyId kAda{1}, kBob{2};

  // One container, which runs input 1.
  void SetUp() override {
    join();
    FunctionSettings one = settings();
    one.scaling.max_containers = 1;
    one.scaling.queue_limit = 4;
    one.retries.max_retries = 1;
    deploy(one);
    container_ = running_container(1);
  }
  void arrive_with(int priority, std::uint64_t input, KeyId caller = kAda) {
    InputArrived arrival{InputId{input}, CallId{input}, kPool, caller};
    arrival.priority = {static_cast<std::int8_t>(priority)};
    send(arrival);
  }
  // Ends what runs; what begins to run then.
  std::uint64_t next_after(std::uint64_t input) {
    finish(input, container_);
    return only<DispatchInput>().input.value;
  }

  ContainerId container_;
};

TEST_F(Priorities, PutTheHigherFirstWhoeverItIsOf) {
  arrive_with(0, 2);
  arrive_with(-10, 3);
  arrive_with(10, 4, kBob);
  arrive_with(0, 5);
  EXPECT_EQ(next_after(1), 4u);
  EXPECT_EQ(next_after(4), 2u);
  EXPECT_EQ(next_after(2), 5u);
  EXPECT_EQ(next_after(5), 3u);
}

TEST_F(Priorities, AreCountedInThePlaceThatOneIsTold) {
  arrive_with(0, 2);
  arrive_with(-1, 3);
  arrive_with(1, 4);
  EXPECT_EQ(engine_.explain(InputId{4})->b, 0);
  EXPECT_EQ(engine_.explain(InputId{2})->b, 1);
  EXPECT_EQ(engine_.explain(InputId{3})->b, 2);
}

TEST_F(Priorities, PassNoLimitOfTheQueue) {
  for (std::uint64_t input = 2; input <= 5; ++input) arrive_with(0, input);
  arrive_with(10, 6);
  EXPECT_EQ(only<FailInput>().code, ErrorCode::resource_exhausted);
}

TEST_F(Priorities, AreKeptByWhatIsTriedAgain) {
  arrive_with(5, 2);
  EXPECT_EQ(next_after(1), 2u);
  arrive_with(3, 3);
  send(InputFinished{InputId{2}, 1, container_, InputOutcome::failed});
  EXPECT_EQ(only<DispatchInput>().input, InputId{3});
  arrive_with(4, 4);
  pass(Duration::seconds(2));
  EXPECT_EQ(next_after(3), 2u);
  send(InputFinished{InputId{2}, 2, container_, InputOutcome::succeeded});
  EXPECT_EQ(only<DispatchInput>().input, InputId{4});
}

TEST_F(Priorities, StopNothingThatRuns) {
  arrive_with(10, 2);
  EXPECT_TRUE(all<CancelInput>().empty());
  EXPECT_TRUE(all<StopContainer>().empty());
  EXPECT_EQ(engine_.explain(InputId{1}), Reason{ReasonCode::running});
}

}  // namespace
}  // namespace ember
