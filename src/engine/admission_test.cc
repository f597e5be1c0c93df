// Which inputs are let in to wait, which are refused, and when the refused are told to come back.
#include <algorithm>
#include <map>

#include "engine/engine_fixture.h"

namespace ember {
namespace {

class Admission : public EngineFixture {
 protected:
  void SetUp() override { join(); }
};

TEST_F(Admission, RefusesInputsOverTheQueueLimit) {
  FunctionSettings narrow;
  narrow.scaling.queue_limit = 2;
  deploy(narrow);
  arrive(1);
  arrive(2);
  arrive(3);
  const auto failure = only<FailInput>();
  EXPECT_EQ(failure.input, InputId{3});
  EXPECT_EQ(failure.code, ErrorCode::resource_exhausted);
  EXPECT_EQ(failure.reason, (Reason{ReasonCode::queue_full, 2}));
  send(InputCancelled{InputId{1}});
  arrive(4);
  EXPECT_TRUE(all<FailInput>().empty());
}

TEST_F(Admission, LocksNoOtherCallerOutOfAFullQueue) {
  constexpr KeyId kAda{7}, kBob{8};
  FunctionSettings narrow;
  narrow.scaling.queue_limit = 4;
  deploy(narrow);
  for (const std::uint64_t input : {1, 2, 3, 4}) arrive(input, kPool, kAda);
  arrive(5, kPool, kAda);
  EXPECT_EQ(only<FailInput>().reason, (Reason{ReasonCode::queue_full, 4}));
  for (const std::uint64_t input : {6, 7}) {
    arrive(input, kPool, kBob);
    EXPECT_TRUE(all<FailInput>().empty()) << input;
  }
  arrive(8, kPool, kBob);
  EXPECT_EQ(only<FailInput>().reason, (Reason{ReasonCode::queue_full, 4}));
}

TEST_F(Admission, RefusesInAllFunctionsOverTheWorkspacesLimit) {
  EngineOptions options;
  options.workspace_queue_limit = 3;
  engine_ = Engine(options);
  const PoolSpec first{PoolId{1}, FunctionId{1}, {}}, second{PoolId{2}, FunctionId{2}, {}};
  send(AppDeployed{kApp, {first, second}});
  send(AppDeployed{AppId{2}, {{PoolId{3}, FunctionId{3}, {}}}, WorkspaceId{2}});
  arrive(1, PoolId{1});
  arrive(2, PoolId{1});
  arrive(3, PoolId{2});
  for (const std::uint64_t pool : {1, 2}) {
    arrive(3 + pool, PoolId{pool});
    EXPECT_EQ(only<FailInput>().code, ErrorCode::resource_exhausted);
    EXPECT_EQ(only<FailInput>().reason, (Reason{ReasonCode::workspace_full, 3}));
  }
  arrive(6, PoolId{3});
  EXPECT_TRUE(all<FailInput>().empty());  // another workspace's
  send(InputCancelled{InputId{1}});
  arrive(7, PoolId{2});
  EXPECT_TRUE(all<FailInput>().empty());
}

TEST_F(Admission, LocksNoOtherCallerOutOfAFullWorkspace) {
  constexpr KeyId kAda{7}, kBob{8};
  EngineOptions options;
  options.workspace_queue_limit = 4;
  engine_ = Engine(options);
  const PoolSpec first{PoolId{1}, FunctionId{1}, {}}, second{PoolId{2}, FunctionId{2}, {}};
  send(AppDeployed{kApp, {first, second}});
  for (const std::uint64_t input : {1, 2, 3, 4}) arrive(input, PoolId{1 + input % 2}, kAda);
  arrive(5, PoolId{2}, kAda);
  EXPECT_EQ(only<FailInput>().reason, (Reason{ReasonCode::workspace_full, 4}));
  for (const std::uint64_t input : {6, 7}) {
    arrive(input, PoolId{input - 5}, kBob);
    EXPECT_TRUE(all<FailInput>().empty()) << input;
  }
  arrive(8, PoolId{1}, kBob);
  EXPECT_EQ(only<FailInput>().reason, (Reason{ReasonCode::workspace_full, 4}));
}

TEST_F(Admission, TellsTheRefusedWhenHalfOfTheQueueWillHaveBeenServed) {
  FunctionSettings narrow;
  narrow.scaling.max_containers = 1;
  narrow.scaling.queue_limit = 8;
  deploy(narrow);
  const ContainerId container = running_container(1);
  std::uint64_t running = 1;
  std::uint64_t next = 2;
  for (; next <= 9; ++next) arrive(next);
  arrive(next++);
  EXPECT_EQ(only<FailInput>().retry_after, Duration::seconds(5));  // nothing has ended yet
  for (int i = 0; i < 40; ++i) {
    after(Duration::seconds(3));
    finish(running, container);
    running = only<DispatchInput>().input.value;
    arrive(next++);
  }
  arrive(next++);
  EXPECT_EQ(only<FailInput>().retry_after, Duration::seconds(12));  // four at three seconds each
}

TEST_F(Admission, TellsTheRefusedOfOneCallerToComeBackOneAfterTheOther) {
  constexpr KeyId kAda{7}, kBob{8};
  FunctionSettings narrow;
  narrow.scaling.max_containers = 1;
  narrow.scaling.queue_limit = 2;
  deploy(narrow);
  const ContainerId container = running_container(1);
  after(Duration::seconds(3));
  finish(1, container);
  for (const std::uint64_t input : {2, 3, 4}) arrive(input, kPool, kAda);
  const auto refused = [&](std::uint64_t input, KeyId caller) {
    arrive(input, kPool, caller);
    return only<FailInput>().retry_after;
  };
  EXPECT_EQ(refused(5, kAda), Duration::seconds(3));
  EXPECT_EQ(refused(6, kAda), Duration::seconds(6));
  arrive(7, kPool, kBob);
  EXPECT_EQ(refused(8, kAda), Duration::seconds(12));  // with Bob's turns between
  EXPECT_EQ(refused(9, kBob), Duration::seconds(3));   // others' storms are not Bob's
  for (std::uint64_t input = 10; input < 200; ++input) arrive(input, kPool, kAda);
  EXPECT_EQ(refused(200, kAda), Duration::seconds(300));
}

// Twenty times the callers that the pool and its queue hold, all of whom come back when they are
// told to: the pool is never idle for it, and not many come in vain.
TEST_F(Admission, ServesAtFullCapacityInAStormOfRetries) {
  constexpr Duration kWork = Duration::milliseconds(100);
  constexpr std::uint64_t kCallers = 2'000;
  FunctionSettings narrow;
  narrow.scaling = {.max_containers = 1, .max_inputs = 10, .target_inputs = 10, .queue_limit = 90};
  deploy(narrow);
  std::multimap<Time, std::uint64_t> calls, ends;  // by when they come and end
  const ContainerId container = running_container(1);
  ends.emplace(now_ + kWork, 1);
  const Time begin = now_, end = begin + Duration::seconds(60);
  for (std::uint64_t i = 0; i < kCallers; ++i) calls.emplace(now_, 0);
  std::uint64_t input = 1, served = 0, refused = 0;
  while (std::min(ends.begin()->first, calls.empty() ? end : calls.begin()->first) < end) {
    const bool is_end = calls.empty() || ends.begin()->first <= calls.begin()->first;
    now_ = is_end ? ends.begin()->first : calls.begin()->first;
    if (is_end) {
      finish(ends.extract(ends.begin()).mapped(), container);
      ++served;
      calls.emplace(now_, 0);  // each calls again at once
    } else {
      calls.erase(calls.begin());
      arrive(++input);
      for (const FailInput& failure : all<FailInput>()) {
        ++refused;
        calls.emplace(now_ + failure.retry_after, 0);
      }
    }
    for (const DispatchInput& one : all<DispatchInput>()) {
      ends.emplace(now_ + kWork, one.input.value);
    }
  }
  EXPECT_GE(served, 5'900u);  // of the 6,000 that could be
  EXPECT_LE(refused, 3 * served);
}

}  // namespace
}  // namespace ember
