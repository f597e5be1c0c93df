#include "sim/store_model.h"

#include <gtest/gtest.h>

namespace ember {
namespace {

UsageRow row(std::int64_t start_ms, std::int64_t end_ms) {
  return {
      ContainerId{1},        PoolId{1},         Meter::cpu, Phase::idle, Time::from_ms(start_ms),
      Time::from_ms(end_ms), end_ms - start_ms, 1000,       {}};
}

TEST(StoreModel, BillsARowThatIsAppliedTwiceOnce) {
  StoreModel store;
  store.write({{row(0, 3'600'000)}, {}});
  store.write({{row(0, 3'600'000)}, {}});
  store.commit();
  EXPECT_EQ(store.rows().size(), 1u);
  EXPECT_EQ(store.total(), price_of(row(0, 3'600'000)));
}

TEST(StoreModel, LosesOnlyTheTailOfWhatWaitsInACrash) {
  StoreModel store;
  store.write({{row(0, 10)}, {}});
  store.write({{row(10, 20)}, {}});
  store.write({{row(20, 30)}, {ContainerId{1}}});
  store.crash(2);
  EXPECT_EQ(store.billed_until(ContainerId{1}, Time{}), Time::from_ms(20));
  EXPECT_FALSE(store.has_ended(ContainerId{1}));
}

TEST(StoreModel, AddsUpTheEgressThatIsOnDisk) {
  StoreModel store;
  UsageRow egress = row(0, 10);
  egress.meter = Meter::egress;
  store.write({{row(0, 10), egress}, {}});
  store.write({{egress}, {}});
  EXPECT_EQ(store.egress_billed(ContainerId{1}), 0);
  store.commit();
  EXPECT_EQ(store.egress_billed(ContainerId{1}), 10);
}

TEST(StoreModel, TellsWhichEndsAreOnDisk) {
  StoreModel store;
  store.write({{}, {ContainerId{5}}});
  EXPECT_FALSE(store.has_ended(ContainerId{5}));
  EXPECT_EQ(store.commit().ended, std::vector<ContainerId>{ContainerId{5}});
  EXPECT_TRUE(store.has_ended(ContainerId{5}));
}

}  // namespace
}  // namespace ember
