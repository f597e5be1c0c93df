// The machine's own database, where it has one, and files that nobody should have written.
#include "control/time_zones.h"

#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>

#include "base/civil.h"

namespace ember {
namespace {

constexpr const char* kDatabase = "/usr/share/zoneinfo";

Time utc(std::int64_t year, std::int64_t month, std::int64_t day, std::int64_t hour) {
  return Time{(days_of({year, month, day}) * 24 + hour) * 3'600'000'000};
}

std::int64_t offset(const TimeZone& zone, Time time) { return zone.span_at(time).offset_s; }

std::string bytes_of(const std::string& name) {
  std::ifstream file(std::string(kDatabase) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class TimeZonesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(std::string(kDatabase) + "/Europe/Berlin")) {
      GTEST_SKIP() << "no tzdata here";
    }
  }
  const TimeZone& zone(const std::string& name) {
    const auto found = zones.find(name);
    EXPECT_TRUE(found.ok()) << name;
    static const UtcZone none;
    return found.ok() ? **found : none;
  }

  TimeZones zones;
};

TEST_F(TimeZonesTest, KnowBothHemispheresAndYearsThatNoFileLists) {
  for (const int year : {2007, 2026, 2037, 2038, 2099, 2400}) {
    EXPECT_EQ(offset(zone("Europe/Berlin"), utc(year, 1, 15, 0)), 3600) << year;
    EXPECT_EQ(offset(zone("Europe/Berlin"), utc(year, 7, 15, 0)), 7200) << year;
    EXPECT_EQ(offset(zone("Australia/Sydney"), utc(year, 1, 15, 0)), 11 * 3600) << year;
    EXPECT_EQ(offset(zone("Australia/Sydney"), utc(year, 7, 15, 0)), 10 * 3600) << year;
    EXPECT_EQ(offset(zone("Asia/Kolkata"), utc(year, 7, 15, 0)), 19'800) << year;
  }
  const ZoneSpan winter = zone("Europe/Berlin").span_at(utc(2026, 12, 1, 0));
  EXPECT_EQ(winter.begin, utc(2026, 10, 25, 1));
  EXPECT_EQ(winter.end, utc(2027, 3, 28, 1));
}

TEST_F(TimeZonesTest, SayTheSameAsTheCLibrary) {
  for (const char* name : {"Europe/Berlin", "Australia/Lord_Howe", "America/New_York",
                           "America/Santiago", "Africa/Casablanca", "Asia/Kathmandu",
                           "Pacific/Chatham", "Europe/Dublin", "Pacific/Apia"}) {
    ::setenv("TZ", name, 1);
    ::tzset();
    const TimeZone& here = zone(name);
    for (Time time = utc(1971, 1, 1, 0); time < utc(2090, 1, 1, 0);
         time = time + Duration::seconds(86'400 + 3'600)) {
      const std::time_t seconds = time.us / 1'000'000;
      std::tm shown{};
      ::localtime_r(&seconds, &shown);
      ASSERT_EQ(offset(here, time), shown.tm_gmtoff) << name << " at " << seconds;
    }
  }
  ::unsetenv("TZ");
  ::tzset();
}

TEST_F(TimeZonesTest, TileAllOfTimeWithSpans) {
  for (const char* name : {"Europe/Berlin", "America/Santiago", "Africa/Casablanca", "Etc/GMT+5"}) {
    const TimeZone& here = zone(name);
    for (ZoneSpan span = here.span_at(utc(1900, 1, 1, 0)); span.end < utc(2100, 1, 1, 0);) {
      const ZoneSpan next = here.span_at(span.end);
      ASSERT_EQ(next.begin, span.end) << name;
      ASSERT_LT(next.begin, next.end) << name;
      ASSERT_EQ(here.span_at(span.end - Duration::microseconds(1)).offset_s, span.offset_s);
      span = next;
    }
  }
}

TEST_F(TimeZonesTest, TakeOrRefuseADamagedFileWithoutHarm) {
  const std::string whole = bytes_of("Europe/Berlin");
  ASSERT_TRUE(FileZone::parse(whole).ok());
  const auto seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = whole;
    for (auto changes = random() % 8; changes > 0; --changes) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (random() % 3 == 0) bytes.resize(random() % bytes.size());
    const auto zone = FileZone::parse(bytes);
    if (!zone) {
      ++refused;
      continue;
    }
    const Time at{static_cast<std::int64_t>(random()) * 1'000'000};
    const ZoneSpan span = zone->span_at(at);
    ASSERT_LE(span.begin, at);
    ASSERT_GT(span.end, at);
    ASSERT_LE(std::abs(span.offset_s), 26 * 3600);
  }
  EXPECT_GT(refused, 100);
}

TEST_F(TimeZonesTest, AreRefusedByNameWhereThereIsNone) {
  for (const char* wrong :
       {"Europe/Nowhere", "Europe", "", "../../../etc/passwd", "zone.tab", "tzdata/zi"}) {
    const auto found = zones.find(wrong);
    ASSERT_FALSE(found.ok()) << wrong;
    EXPECT_EQ(found.error().code, ErrorCode::invalid_argument);
  }
}

TEST(TimeZoneRuleTest, ReadsWhatPosixHas) {
  const auto berlin = parse_zone_rule("CET-1CEST,M3.5.0,M10.5.0/3");
  ASSERT_TRUE(berlin.ok());
  EXPECT_EQ(berlin->offset_s, 3600);
  EXPECT_EQ(berlin->summer_offset_s, 7200);
  EXPECT_EQ(Time{berlin->summer_begin.seconds_of(2026) * 1'000'000}, utc(2026, 3, 29, 2));
  EXPECT_EQ(Time{berlin->summer_end.seconds_of(2026) * 1'000'000}, utc(2026, 10, 25, 3));
  EXPECT_EQ(parse_zone_rule("<+0530>-5:30")->offset_s, 19'800);
  EXPECT_EQ(parse_zone_rule("<-02>2<-01>,M3.5.0/-1,M10.5.0/0")->summer_begin.time_s, -3600);
  EXPECT_EQ(parse_zone_rule("XST5XDT4:30,J60,300/26")->summer_begin.seconds_of(2028),
            days_of({2028, 3, 1}) * 86'400 + 7200);
  for (const char* wrong :
       {"", "CE-1", "CET", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M1.1.0",
        "CET-1CEST,M3.6.0,M1.1.0", "CET-1CEST,J0,J5", "CET-99", "<+05-5",
        "CET-1CEST,M3.5.0,M10.5.0/3x", "CET-1:60"}) {
    EXPECT_FALSE(parse_zone_rule(wrong).ok()) << wrong;
  }
}

TEST(TimeZonesWithoutADatabase, HaveUtcAlone) {
  TimeZones zones("/nowhere");
  EXPECT_TRUE(zones.find("UTC").ok());
  const auto found = zones.find("Europe/Berlin");
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.error().message.find("install tzdata"), std::string::npos);
}

}  // namespace
}  // namespace ember
