#include <gtest/gtest.h>

#include <cerrno>

#include "base/disk_error.h"
#include "base/finding.h"
#include "base/id.h"
#include "base/money.h"
#include "base/random.h"
#include "base/result.h"

namespace ember {
namespace {

struct ThingTag {
  static constexpr std::string_view kPrefix = "th";
};
using ThingId = Id<ThingTag>;

TEST(Id, ReadsBackWhatItPrints) {
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    const ThingId id{random.next() | 1};
    EXPECT_EQ(ThingId::parse(id.text()), id);
  }
}

TEST(Id, SortsAsTextInTheOrderOfItsValue) {
  EXPECT_LT(ThingId{31}.text(), ThingId{32}.text());
  EXPECT_LT(ThingId{1}.text(), ThingId{~0ull}.text());
}

TEST(Id, RefusesWhatIsNotAnId) {
  for (const char* text : {"", "th", "th-", "th-0000000000000", "xx-0000000000001",
                           "th-000000000000u", "th-zzzzzzzzzzzzz", "th-00000000000001"}) {
    EXPECT_FALSE(ThingId::parse(text)) << text;
  }
}

TEST(Money, RoundsHalfToEvenOnce) {
  EXPECT_EQ(divide_half_even(5, 2), 2);
  EXPECT_EQ(divide_half_even(7, 2), 4);
  EXPECT_EQ(divide_half_even(-5, 2), -2);
  EXPECT_EQ(divide_half_even(-7, 2), -4);
  EXPECT_EQ(divide_half_even(8, 3), 3);
}

TEST(Money, PricesAnHourExactly) {
  const PricePerHour price{550'000'000};
  EXPECT_EQ(price.over_ms(3'600'000, 1, 1), Money{550'000'000});
  EXPECT_EQ(price.over_ms(1, 1, 1).nano_usd, 153);
  EXPECT_EQ(price.over_ms(3'600'000, 125, 1000).nano_usd, 68'750'000);
}

TEST(Money, PrintsNineDecimals) {
  EXPECT_EQ(Money{1}.decimal(), "0.000000001");
  EXPECT_EQ(Money{-1'500'000'000}.decimal(), "-1.500000000");
  EXPECT_EQ(Money{INT64_MIN}.decimal(), "-9223372036.854775808");
}

TEST(Random, RepeatsForASeedAndStaysInBounds) {
  Random a(7), b(7);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(a.next(), b.next());
    const auto n = a.between(-3, 3);
    EXPECT_EQ(n, b.between(-3, 3));
    EXPECT_GE(n, -3);
    EXPECT_LE(n, 3);
  }
}

TEST(Result, CarriesContextOnTheWayUp) {
  Result<int> result(ErrorCode::not_found, "no such image");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(std::move(result).error().within("deploy").message, "deploy: no such image");
}

TEST(FindingList, KeepsTheFirstTroublesAndCountsTheRest) {
  FindingList found("pages", 2);
  for (const char* page : {"1", "2", "3", "4"}) found.trouble(page, "mend it");
  EXPECT_EQ(found.troubles(), 4u);
  const std::vector<Finding> told = found.take();
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[1].text, "2");
  EXPECT_EQ(told[2].text, "and 2 more of the kind");
  EXPECT_EQ(told[2].check, "pages");
  EXPECT_EQ(told[2].next_step, "mend it");
}

TEST(DiskError, TellsADiskThatTakesNoWritesFromOtherTroublesAndSaysWhatToDo) {
  for (const int error : {ENOSPC, EDQUOT, EROFS, EIO}) {
    EXPECT_EQ(disk_error("/data/serve", error).code, ErrorCode::storage_failed) << error;
  }
  EXPECT_EQ(disk_error("/data", EACCES).code, ErrorCode::unavailable);
  EXPECT_EQ(disk_error("/data/serve", ENOSPC).message,
            "/data/serve: no space is left on its disk; free some, Ember then goes on by itself");
}

}  // namespace
}  // namespace ember
