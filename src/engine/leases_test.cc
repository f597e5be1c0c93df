// Devices that people have to themselves for a time.
#include <gtest/gtest.h>

#include "engine/engine_fixture.h"

namespace ember {
namespace {

constexpr std::int64_t kGB = 1'000'000'000;
constexpr LeaseId kLease{9};
constexpr Duration kHour = Duration::seconds(3600);
const GpuDemand kL4{{{"L4", 1}}};

class Leases : public EngineFixture {
 protected:
  Leases() { join(kNode, {l4(1)}); }

  static Device l4(std::uint64_t id) { return {DeviceId{id}, "L4", 24 * kGB, true}; }
  static FunctionSettings gpu() {
    FunctionSettings settings;
    settings.resources.gpu = kL4;
    return settings;
  }
  void ask(LeaseId lease = kLease, IfNoneFree if_none_free = IfNoneFree::refuse,
           const GpuDemand& demand = kL4) {
    send(LeaseAsked{lease, demand, kHour, if_none_free});
  }
  std::int64_t leased_ms() const {
    std::int64_t sum = 0;
    for (const UsageRow& row : rows_) {
      EXPECT_EQ(row.phase, Phase::leased);
      EXPECT_EQ(row.lease, kLease);
      sum += row.quantity;
    }
    return sum;
  }
};

TEST_F(Leases, TakeAFreeDeviceOutOfTheFleetUntilTheirTime) {
  ask();
  const GrantLease grant = only<GrantLease>();
  EXPECT_EQ(grant.devices, std::vector{DeviceId{1}});
  EXPECT_EQ(grant.until, now_ + kHour);
  deploy(gpu());
  arrive(1);
  EXPECT_TRUE(all<StartContainer>().empty());
  EXPECT_EQ(engine_.explain(InputId{1}),
            (Reason{ReasonCode::waiting_for_leased, 1, kHour.whole_ms()}));
  forget();
  pass(kHour);
  EXPECT_EQ(only<ReleaseLease>().at, grant.until);
  EXPECT_EQ(only<StartContainer>().devices, std::vector{DeviceId{1}});
  EXPECT_TRUE(engine_.leases().empty());
}

TEST_F(Leases, EndEarlyWhenTheyAreGivenBack) {
  ask();
  pass(Duration::seconds(90));
  send(LeaseEnded{kLease});
  EXPECT_EQ(only<ReleaseLease>().at, now_);
  EXPECT_EQ(leased_ms(), 90'000);
  ask(LeaseId{10});
  EXPECT_EQ(only<GrantLease>().lease, LeaseId{10});
}

// The timer that ends them may be late.
TEST_F(Leases, AreNotMeteredBeyondTheirTimeWhereTheyAreGivenBackAfterIt) {
  ask();
  const Time until = only<GrantLease>().until;
  after(kHour + Duration::seconds(1));
  send(LeaseEnded{kLease});
  EXPECT_EQ(only<ReleaseLease>().at, until);
  EXPECT_EQ(leased_ms(), kHour.whole_ms());
}

TEST_F(Leases, AreNotMeteredBeyondTheirTimeWhereTheirNodeIsLostAfterIt) {
  ask();
  after(kHour + Duration::seconds(1));
  send(NodeLost{kNode});
  EXPECT_EQ(leased_ms(), kHour.whole_ms());
}

TEST_F(Leases, AreRefusedWhereEveryDeviceIsBusySayingWhenOneComesBack) {
  join(kNode, {l4(1), l4(2)});
  deploy(gpu());
  running_container(1);
  ask();
  after(Duration::seconds(600));
  ask(LeaseId{10});
  const RefuseLease refusal = only<RefuseLease>();
  EXPECT_EQ(refusal.code, ErrorCode::resource_exhausted);
  EXPECT_EQ(refusal.reason, (Reason{ReasonCode::no_device_free, 2, 3'000'000}));
  EXPECT_EQ(refusal.retry_after, Duration::seconds(3000));
}

TEST_F(Leases, OfWhatNoNodeHasAreRefused) {
  ask(kLease, IfNoneFree::wait, {{{"H100", 1}}});
  EXPECT_EQ(only<RefuseLease>().reason, Reason{ReasonCode::no_such_device});
}

TEST_F(Leases, ThatWaitGoBeforeContainersThatWait) {
  deploy(gpu());
  const ContainerId container = running_container(1);
  arrive(2);
  ask(kLease, IfNoneFree::wait);
  EXPECT_TRUE(all<RefuseLease>().empty());
  EXPECT_FALSE(engine_.leases().front().node);
  exited(container, ExitCause::crashed);
  EXPECT_EQ(only<GrantLease>().lease, kLease);
  EXPECT_TRUE(all<StartContainer>().empty());
}

TEST_F(Leases, NobodyWaitsForAnyMoreAreNotGranted) {
  deploy(gpu());
  const ContainerId container = running_container(1);
  ask(kLease, IfNoneFree::wait);
  send(LeaseEnded{kLease});
  EXPECT_TRUE(all<ReleaseLease>().empty());
  exited(container, ExitCause::crashed);
  EXPECT_TRUE(all<GrantLease>().empty());
}

TEST_F(Leases, DoNotTakeADeviceThatIsShared) {
  FunctionSettings sharing;
  sharing.resources.gpu = {{{"L4", 1}}, kGB};
  deploy(sharing);
  running_container(1);
  ask();
  EXPECT_EQ(only<RefuseLease>().reason, (Reason{ReasonCode::no_device_free, 1, 0}));
}

TEST_F(Leases, AreMeteredInWindowsAndNotWhileTheirNodeIsLost) {
  ask();
  pass(Duration::seconds(130));
  EXPECT_EQ(leased_ms(), 120'000);
  send(NodeLost{kNode});
  EXPECT_EQ(leased_ms(), 130'000);
  pass(Duration::seconds(1000));
  join(kNode, {l4(1)});
  pass(Duration::seconds(60));
  EXPECT_EQ(leased_ms(), 190'000);
  deploy(gpu());
  arrive(1);
  EXPECT_TRUE(all<StartContainer>().empty());
}

TEST_F(Leases, GoOnAfterARestartWhereTheLedgerEnds) {
  engine_ = Engine{EngineOptions{.begin = Begin::recovering}};
  const Time from = now_ - Duration::seconds(600);
  send(LeaseRestored{
      kLease, kNode, {DeviceId{1}}, "L4", from, from + kHour, now_ - Duration::seconds(10)});
  deploy(gpu());
  join(kNode, {l4(1)});
  send(RecoveryEnded{});
  arrive(1);
  EXPECT_TRUE(all<StartContainer>().empty());
  pass(kHour - Duration::seconds(600));
  EXPECT_EQ(leased_ms(), 3'010'000);
  EXPECT_TRUE(engine_.leases().empty());
}

TEST_F(Leases, KeepADeviceThatTheirOwnProgramsUse) {
  ask();
  Device used = l4(1);
  used.state = DeviceState::in_use;
  join(kNode, {used});
  EXPECT_EQ(engine_.leases().size(), 1u);
  send(LeaseEnded{kLease});
  deploy(gpu());
  arrive(1);
  EXPECT_TRUE(all<StartContainer>().empty());  // until the program ends
  join(kNode, {l4(1)});
  EXPECT_EQ(only<StartContainer>().devices, std::vector{DeviceId{1}});
}

}  // namespace
}  // namespace ember
