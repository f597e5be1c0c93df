#include "billing/usage_meter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"

namespace ember {
namespace {

constexpr Duration kWindow = Duration::seconds(60);

Time at_us(std::int64_t us) { return {us}; }

std::int64_t ms_in(const UsageWindow& window, Phase phase) {
  return window.ms[static_cast<std::size_t>(phase)];
}

TEST(UsageMeter, PutsEachStretchOfTimeIntoItsPhase) {
  UsageMeter meter;
  meter.start(Time::from_ms(1000), Phase::boot, kWindow);
  meter.advance(Time::from_ms(1100));
  meter.set_phase(Phase::load);
  meter.advance(Time::from_ms(1150));
  meter.set_phase(Phase::idle);
  meter.advance(Time::from_ms(1200));
  const auto reading = meter.join();
  meter.advance(Time::from_ms(1230));
  EXPECT_EQ(meter.leave(reading), Duration::milliseconds(30));
  meter.advance(Time::from_ms(1300));
  const auto window = meter.finish();
  ASSERT_TRUE(window);
  EXPECT_EQ(ms_in(*window, Phase::boot), 100);
  EXPECT_EQ(ms_in(*window, Phase::load), 50);
  EXPECT_EQ(ms_in(*window, Phase::execute), 30);
  EXPECT_EQ(ms_in(*window, Phase::idle), 120);
}

TEST(UsageMeter, BeginsAndEndsOnWholeMilliseconds) {
  UsageMeter meter;
  meter.start(at_us(1'000'999), Phase::boot, kWindow);
  meter.advance(at_us(1'002'001));
  const auto window = meter.finish();
  ASSERT_TRUE(window);
  EXPECT_EQ(window->start, Time::from_ms(1000));
  EXPECT_EQ(window->end, Time::from_ms(1002));
}

TEST(UsageMeter, HasNoWindowForALifeWithinOneMillisecond) {
  UsageMeter meter;
  meter.start(at_us(1'000'100), Phase::boot, kWindow);
  meter.advance(at_us(1'000'900));
  EXPECT_FALSE(meter.finish());
}

TEST(UsageMeter, TakesBackWhatWasCountedAfterTheEndButNothingRecorded) {
  UsageMeter meter;
  meter.start(Time::from_ms(0), Phase::idle, kWindow);
  const auto reading = meter.join();
  meter.advance(Time::from_ms(60'000));
  meter.close_window();
  meter.advance(Time::from_ms(61'000));
  EXPECT_EQ(meter.take_back_after(Time::from_ms(60'400)), Duration::milliseconds(600));
  EXPECT_EQ(meter.take_back_after(Time::from_ms(59'000)), Duration::milliseconds(400));
  meter.leave(reading);
  EXPECT_FALSE(meter.finish());
}

TEST(UsageMeter, IgnoresTimesBeforeTheLastOne) {
  UsageMeter meter;
  meter.start(Time::from_ms(5000), Phase::idle, kWindow);
  meter.advance(Time::from_ms(6000));
  meter.advance(Time::from_ms(5500));
  meter.advance(Time::from_ms(7000));
  EXPECT_EQ(ms_in(*meter.finish(), Phase::idle), 2000);
}

TEST(UsageMeter, GivesOneRowForEachMeterAndPhaseWithTimeInIt) {
  UsageWindow window{Time::from_ms(0), Time::from_ms(10), {4, 0, 6, 0}, {}};
  std::vector<UsageRow> rows;
  append_rows({ContainerId{1}, PoolId{2}, 2, "L4", 1500, 1 << 20}, window, rows);
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(rows[0].meter, Meter::gpu);
  EXPECT_EQ(rows[0].gpu_type, "L4");
  EXPECT_EQ(rows[0].units, 2);
  EXPECT_EQ(rows[1].phase, Phase::execute);
  EXPECT_EQ(rows[1].quantity, 6);
  EXPECT_EQ(rows[2].units, 1500);
  EXPECT_EQ(rows[4].units, 1 << 20);
  EXPECT_EQ(rows[4].gpu_type, "");
  rows.clear();
  append_rows({ContainerId{1}, PoolId{2}, 0, "", 1500, 1 << 20}, window, rows);
  EXPECT_EQ(rows.size(), 4u);
}

// --- egress ---

std::int64_t egress_in(const UsageWindow& window, Phase phase) {
  return window.egress_bytes[static_cast<std::size_t>(phase)];
}

TEST(UsageMeter, CountsEachByteOfEgressOnceWhateverIsRepeatedOrLate) {
  UsageMeter meter;
  meter.count_egress(7);
  meter.start(Time::from_ms(0), Phase::idle, kWindow);
  meter.count_egress(1000);
  meter.count_egress(1000);
  meter.count_egress(400);
  meter.count_egress(-5);
  meter.advance(Time::from_ms(60'000));
  EXPECT_EQ(egress_in(meter.close_window(), Phase::idle), 1000);
  meter.count_egress(1000);
  meter.count_egress(1001);
  meter.advance(Time::from_ms(61'000));
  EXPECT_EQ(egress_in(*meter.finish(), Phase::idle), 1);
}

TEST(UsageMeter, CountsEgressAsSentByTheInputsThatRanSinceTheLastWord) {
  UsageMeter meter;
  meter.start(Time::from_ms(0), Phase::boot, kWindow);
  meter.count_egress(1);
  meter.set_phase(Phase::load);
  meter.count_egress(11);
  meter.set_phase(Phase::idle);
  const auto reading = meter.join();
  meter.advance(Time::from_ms(10));
  meter.count_egress(111);
  meter.advance(Time::from_ms(20));
  meter.leave(reading);
  meter.advance(Time::from_ms(30));
  meter.count_egress(1111);
  meter.count_egress(11'111);
  const auto window = meter.finish();
  EXPECT_EQ(egress_in(*window, Phase::boot), 1);
  EXPECT_EQ(egress_in(*window, Phase::load), 10);
  EXPECT_EQ(egress_in(*window, Phase::execute), 1100);
  EXPECT_EQ(egress_in(*window, Phase::idle), 10'000);
}

TEST(UsageMeter, GoesOnCountingEgressWhereEarlierRowsEnd) {
  UsageMeter meter;
  meter.start(Time::from_ms(0), Phase::idle, kWindow, 1000);
  meter.count_egress(900);
  meter.count_egress(1050);
  meter.advance(Time::from_ms(1));
  EXPECT_EQ(egress_in(*meter.finish(), Phase::idle), 50);
}

TEST(UsageMeter, HasAWindowWithoutLengthForEgressThatComesAfterTheLastOne) {
  UsageMeter meter;
  meter.start(Time::from_ms(0), Phase::idle, kWindow);
  meter.advance(Time::from_ms(60'000));
  meter.close_window();
  meter.count_egress(5);
  const auto window = meter.finish();
  ASSERT_TRUE(window);
  EXPECT_EQ(window->start, window->end);
  std::vector<UsageRow> rows;
  append_rows({ContainerId{1}, PoolId{2}, 1, "L4", 1500, 1 << 20}, *window, rows);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].meter, Meter::egress);
  EXPECT_EQ(rows[0].phase, Phase::idle);
  EXPECT_EQ(rows[0].quantity, 5);
  EXPECT_EQ(rows[0].units, 1);
}

// A life of random steps: what must hold whatever happens.
class RandomLife : public testing::TestWithParam<std::uint64_t> {};

TEST_P(RandomLife, IsTiledByWindowsAndItsSharesAreItsExecuteTime) {
  Random random(GetParam());
  UsageMeter meter;
  const Time start = at_us(random.between(1'000'000, 2'000'000));
  const Duration longest = Duration::milliseconds(random.between(1, 50));
  meter.start(start, Phase::boot, longest);
  Time now = start;
  Time covered = Time::from_ms(start.whole_ms());
  std::vector<std::int64_t> readings;
  std::int64_t shares_us = 0, execute_us = 0, told_bytes = 0, egress_bytes = 0;
  const auto check = [&](const UsageWindow& window) {
    EXPECT_EQ(window.start, covered);
    EXPECT_GE(window.end, window.start);
    EXPECT_LE(window.end - window.start, longest);
    std::int64_t sum = 0;
    for (const std::int64_t ms : window.ms) {
      EXPECT_GE(ms, 0);
      sum += ms;
    }
    EXPECT_EQ(sum, (window.end - window.start).whole_ms());
    for (const std::int64_t bytes : window.egress_bytes) egress_bytes += bytes;
    covered = window.end;
  };
  const auto advance = [&](Time time) {
    while (meter.window_over(time)) check(meter.close_window());
    meter.advance(time);
  };
  for (int step = 0; step < 500; ++step) {
    const Time next = now + Duration::microseconds(random.between(0, 20'000));
    if (!readings.empty()) execute_us += (next - now).us;
    now = next;
    advance(now);
    if (random.chance(100)) {
      const std::int64_t total = random.between(0, 1'000'000);
      meter.count_egress(total);
      told_bytes = std::max(told_bytes, total);
    }
    if (random.chance(400)) {
      readings.push_back(meter.join());
    } else if (!readings.empty() && random.chance(700)) {
      const auto at = readings.begin() + static_cast<std::ptrdiff_t>(random.below(readings.size()));
      shares_us += meter.leave(*at).us;
      readings.erase(at);
    } else if (random.chance(300)) {
      meter.set_phase(static_cast<Phase>(random.below(4) == 2 ? 3 : random.below(2)));
    }
  }
  for (const auto reading : readings) shares_us += meter.leave(reading).us;
  EXPECT_EQ(shares_us, execute_us);
  if (const auto window = meter.finish()) check(*window);
  EXPECT_EQ(covered, Time::from_ms(now.whole_ms()));
  EXPECT_EQ(egress_bytes, told_bytes);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomLife, testing::Range<std::uint64_t>(0, 50));

}  // namespace
}  // namespace ember
