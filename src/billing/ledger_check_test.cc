#include "billing/ledger_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "billing/price_book.h"
#include "billing/usage_meter.h"

namespace ember {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr PricePerHour kPrice{800'000'000};
constexpr Duration kWindow = Duration::seconds(60);
const Time kStart = Time::from_ms(1'764'072'000'000);
const Time kEnd = kStart + Duration::milliseconds(150'500);

// A life of three windows with boot, execute and idle time, on two GPUs, with some egress.
std::vector<LedgerEntry> good_entries() {
  const Holding holding{ContainerId{5}, PoolId{1}, 2, "L4", 1500, 3ll << 30};
  UsageMeter meter;
  std::vector<UsageRow> rows;
  const auto until = [&](std::int64_t ms) {
    const Time at = kStart + Duration::milliseconds(ms);
    while (meter.window_over(at)) append_rows(holding, meter.close_window(), rows);
    meter.advance(at);
  };
  meter.start(kStart, Phase::boot, kWindow);
  until(700);
  meter.set_phase(Phase::idle);
  until(30'000);
  const auto reading = meter.join();
  until(90'000);
  meter.leave(reading);
  meter.count_egress(12'345);
  until(150'500);
  if (const auto last = meter.finish()) append_rows(holding, *last, rows);
  std::vector<LedgerEntry> entries;
  for (UsageRow& row : rows) {
    const Money amount = amount_of(row, kPrice);
    entries.push_back({std::move(row), kPrice, amount});
  }
  return entries;
}

std::vector<std::string> check(const std::vector<LedgerEntry>& entries, Time ended = kEnd) {
  return check_ledger({ContainerId{5}, kStart, ended}, entries);
}

bool is_in_second_window(const LedgerEntry& entry) {
  return entry.row.window_start == kStart + kWindow;
}

TEST(LedgerCheck, FindsNothingWrongWithWhatTheMeterMade) {
  const auto entries = good_entries();
  EXPECT_THAT(check(entries), IsEmpty());
  EXPECT_THAT(check(entries, Time{}), IsEmpty());
  EXPECT_THAT(check({}, Time{}), IsEmpty());
  EXPECT_THAT(check({}, kStart), IsEmpty());
}

TEST(LedgerCheck, FindsASharesAmountAndSizeThatCannotBe) {
  auto entries = good_entries();
  const auto gpu = std::ranges::find(entries, Meter::gpu,
                                     [](const LedgerEntry& entry) { return entry.row.meter; });
  gpu->row.share_bytes = 25;
  gpu->row.device_bytes = 24;
  EXPECT_THAT(check(entries), Contains(HasSubstr("a wrong share, 25 of 24 bytes")));
}

TEST(LedgerCheck, FindsAGapInTheMiddleAtTheStartAndAtTheEnd) {
  auto middle = good_entries();
  std::erase_if(middle, is_in_second_window);
  EXPECT_THAT(check(middle), ElementsAre(AllOf(HasSubstr("ct-"), HasSubstr("a gap: nothing from "
                                                                           "1764072060000 ms to "
                                                                           "1764072120000 ms"))));
  auto start = good_entries();
  std::erase_if(start, [](const LedgerEntry& entry) { return entry.row.window_start == kStart; });
  EXPECT_THAT(check(start), ElementsAre(HasSubstr("a gap: nothing from 1764072000000 ms")));
  auto end = good_entries();
  std::erase_if(end, [](const LedgerEntry& entry) { return entry.row.window_end == kEnd; });
  EXPECT_THAT(check(end), ElementsAre(HasSubstr("to its end at 1764072150500 ms")));
  EXPECT_THAT(check({}), ElementsAre(HasSubstr("a gap")));
}

TEST(LedgerCheck, FindsAnOverlap) {
  auto entries = good_entries();
  for (LedgerEntry& entry : entries) {
    if (is_in_second_window(entry))
      entry.row.window_start = entry.row.window_start - kWindow * 0 - Duration::milliseconds(10);
  }
  EXPECT_THAT(check(entries), Contains(HasSubstr("an overlap: 1764072059990 ms to 1764072060000 "
                                                 "ms is billed twice")));
}

TEST(LedgerCheck, FindsAMissingEntryAndADoubledOne) {
  auto missing = good_entries();
  const auto is_memory = [](const LedgerEntry& entry) {
    return is_in_second_window(entry) && entry.row.meter == Meter::memory &&
           entry.row.phase == Phase::execute;
  };
  const auto found = std::find_if(missing.begin(), missing.end(), is_memory);
  ASSERT_NE(found, missing.end());
  LedgerEntry taken = *found;
  missing.erase(found);
  EXPECT_THAT(check(missing),
              ElementsAre(AllOf(HasSubstr("window 1764072060000 to 1764072120000 ms, memory"),
                                HasSubstr("entries are missing, 30000 of 60000 ms"))));
  auto doubled = good_entries();
  taken.row.phase = Phase::load;
  doubled.insert(std::find_if(doubled.begin(), doubled.end(), is_memory), taken);
  EXPECT_THAT(check(doubled), ElementsAre(HasSubstr("entries are doubled, 90000 of 60000 ms")));
}

TEST(LedgerCheck, FindsAWrongAmountDownToANanoDollar) {
  auto entries = good_entries();
  const Money right = entries[0].amount;
  entries[0].amount.nano_usd += 1;
  EXPECT_THAT(check(entries), ElementsAre(AllOf(HasSubstr("gpu, boot: a wrong amount"),
                                                HasSubstr("make " + right.decimal()))));
}

TEST(LedgerCheck, FindsOtherUnitsAWrongTypeAndWhatIsBilledBeyondTheEnd) {
  auto entries = good_entries();
  entries[4].row.units += 1;
  entries[4].amount = amount_of(entries[4].row, kPrice);
  EXPECT_THAT(check(entries), Contains(HasSubstr("units, before")));
  entries = good_entries();
  entries[0].row.gpu_type.clear();
  EXPECT_THAT(check(entries), ElementsAre(HasSubstr("a wrong GPU type")));
  EXPECT_THAT(check(good_entries(), kStart + Duration::seconds(5)),
              ElementsAre(HasSubstr("beyond its end")));
}

}  // namespace
}  // namespace ember
