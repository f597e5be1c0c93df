#include "model/schedule.h"

#include <gtest/gtest.h>

#include <iostream>
#include <random>
#include <vector>

#include "base/civil.h"

namespace ember {
namespace {

constexpr std::int64_t kHour = 3600;

Time utc(std::int64_t year, std::int64_t month, std::int64_t day, std::int64_t hour = 0,
         std::int64_t minute = 0) {
  const std::int64_t days = days_of({year, month, day});
  return Time{((days * 24 + hour) * 60 + minute) * 60'000'000};
}

std::string text_of(Time time) {
  const std::int64_t minutes = time.us / 60'000'000;
  const CivilDay date = civil_of(minutes / 1440);
  char text[32];
  std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d", static_cast<int>(date.year),
                static_cast<int>(date.month), static_cast<int>(date.day),
                static_cast<int>(minutes % 1440 / 60), static_cast<int>(minutes % 60));
  return text;
}

// Changes of the clocks at these times, to these offsets.
class MadeZone final : public TimeZone {
 public:
  struct Change {
    Time at;
    std::int64_t offset_s;
  };
  MadeZone(std::int64_t first_offset_s, std::vector<Change> changes)
      : first_offset_s_(first_offset_s), changes_(std::move(changes)) {}

  ZoneSpan span_at(Time time) const override {
    ZoneSpan span;
    span.offset_s = first_offset_s_;
    for (const Change& change : changes_) {
      if (change.at > time) {
        span.end = change.at;
        break;
      }
      span.begin = change.at;
      span.offset_s = change.offset_s;
    }
    return span;
  }

 private:
  std::int64_t first_offset_s_;
  std::vector<Change> changes_;
};

const MadeZone kBerlin(kHour, {{utc(2026, 3, 29, 1), 2 * kHour},
                               {utc(2026, 10, 25, 1), kHour},
                               {utc(2027, 3, 28, 1), 2 * kHour}});
// South of the equator, by half an hour, and with a winter between.
const MadeZone kLordHowe(11 * kHour, {{utc(2026, 4, 4, 15), 10 * kHour + kHour / 2},
                                      {utc(2026, 10, 3, 15, 30), 11 * kHour}});
const UtcZone kUtc;

std::vector<std::string> ticks(const std::string& cron, const TimeZone& zone, Time after,
                               int number) {
  const auto schedule = cron_schedule(cron, "Some/Where");
  if (!schedule) return {schedule.error().message};
  const Ticks all(*schedule, zone, Time{});
  std::vector<std::string> texts;
  for (int i = 0; i < number; ++i) {
    const auto tick = all.first_after(after);
    if (!tick) break;
    texts.push_back(text_of(*tick));
    after = *tick;
  }
  return texts;
}

using Texts = std::vector<std::string>;

TEST(CronTest, RunsAtTheNextMinuteThatMatchesEachField) {
  const Time from = utc(2026, 11, 27, 14, 46);  // a Friday
  const auto next = [&](const char* cron) { return ticks(cron, kUtc, from, 1).at(0); };
  EXPECT_EQ(next("* * * * *"), "2026-11-27 14:47");
  EXPECT_EQ(next("46 14 * * *"), "2026-11-28 14:46") << "not the minute that it is";
  EXPECT_EQ(next("*/15 * * * *"), "2026-11-27 15:00");
  EXPECT_EQ(next("5/20 * * * *"), "2026-11-27 15:05");
  EXPECT_EQ(next("0 6 * * *"), "2026-11-28 06:00");
  EXPECT_EQ(next("0,30 8-18/5 * * *"), "2026-11-27 18:00");
  EXPECT_EQ(next("0 0 1 * *"), "2026-12-01 00:00");
  EXPECT_EQ(next("0 0 1 JAN *"), "2027-01-01 00:00");
  EXPECT_EQ(next("0 0 1 feb-Apr *"), "2027-02-01 00:00");
  EXPECT_EQ(next("0 9 * * MON"), "2026-11-30 09:00");
  EXPECT_EQ(next("0 9 * * mon-fri"), "2026-11-30 09:00");
  EXPECT_EQ(next("0 9 * * sat-sun"), "2026-11-28 09:00");
  EXPECT_EQ(next("0 9 * * 0"), "2026-11-29 09:00");
  EXPECT_EQ(next("0 9 * * 7"), "2026-11-29 09:00");
  EXPECT_EQ(next("  0\t9 * *   5-7 "), "2026-11-28 09:00");
  EXPECT_EQ(next("0 0 29 2 *"), "2028-02-29 00:00");
  EXPECT_EQ(next("0 0 31 * *"), "2026-12-31 00:00");
}

TEST(CronTest, KnowsTheUsualNames) {
  const Time from = utc(2026, 11, 27, 14, 46);
  const auto next = [&](const char* cron) { return ticks(cron, kUtc, from, 1).at(0); };
  EXPECT_EQ(next("@hourly"), "2026-11-27 15:00");
  EXPECT_EQ(next("@daily"), "2026-11-28 00:00");
  EXPECT_EQ(next("@midnight"), "2026-11-28 00:00");
  EXPECT_EQ(next("@weekly"), "2026-11-29 00:00");
  EXPECT_EQ(next("@monthly"), "2026-12-01 00:00");
  EXPECT_EQ(next("@YEARLY"), "2027-01-01 00:00");
  EXPECT_EQ(next("@annually"), "2027-01-01 00:00");
}

TEST(CronTest, TakesEitherDayWhereBothAreGiven) {
  const Time from = utc(2026, 11, 27);
  EXPECT_EQ(
      ticks("0 0 13 * FRI", kUtc, from - Duration::seconds(1), 4),
      (Texts{"2026-11-27 00:00", "2026-12-04 00:00", "2026-12-11 00:00", "2026-12-13 00:00"}));
  EXPECT_EQ(ticks("0 0 */10 * FRI", kUtc, from, 2), (Texts{"2026-12-11 00:00", "2027-01-01 00:00"}))
      << "a field that begins with a star narrows the other";
}

TEST(CronTest, RefusesWhatCanNeverFire) {
  for (const char* never : {"0 0 31 2 *", "0 0 30 feb *", "0 0 31 4,6,9,11 *"}) {
    const auto parsed = Cron::parse(never);
    ASSERT_FALSE(parsed.ok()) << never;
    EXPECT_NE(parsed.error().message.find("can never fire"), std::string::npos);
  }
  EXPECT_TRUE(Cron::parse("0 0 31 2 MON").ok()) << "Mondays will do";
}

TEST(CronTest, SaysWhichFieldIsWrong) {
  const auto why = [](const std::string& text) {
    const auto parsed = Cron::parse(text);
    return parsed.ok() ? "" : parsed.error().message;
  };
  EXPECT_EQ(why("60 * * * *").substr(0, 26), "the minute '60' is not one");
  EXPECT_NE(why("* 24 * * *").find("the hour '24'"), std::string::npos);
  EXPECT_NE(why("* * 0 * *").find("the day of the month '0'"), std::string::npos);
  EXPECT_NE(why("* * * 13 *").find("the month '13'"), std::string::npos);
  EXPECT_NE(why("* * * * 8").find("the day of the week '8'"), std::string::npos);
  for (const char* wrong : {"",
                            "* * * *",
                            "* * * * * *",
                            "@reboot",
                            "@",
                            "*/0 * * * *",
                            "5-1 * * * *",
                            "1-2-3 * * * *",
                            ", * * * *",
                            "1, * * * *",
                            "1,,2 * * * *",
                            "-1 * * * *",
                            "+1 * * * *",
                            "1/ * * * *",
                            "*/2/2 * * * *",
                            "** * * * *",
                            "*-5 * * * *",
                            "1.5 * * * *",
                            "jan * * * *",
                            "* * * an *",
                            "* * * janfeb *",
                            "* * * * m",
                            "99999999999999999999 * * * *",
                            "* * L * *",
                            "* * * * 5#2",
                            "0x1 * * * *",
                            "*/-1 * * * *"}) {
    EXPECT_NE(why(wrong), "") << wrong;
  }
  EXPECT_NE(why(std::string(201, '*')), "");
}

TEST(ScheduleTest, FollowsTheClocksOnTheWall) {
  EXPECT_EQ(ticks("0 6 * * *", kBerlin, utc(2026, 3, 27, 6), 3),
            (Texts{"2026-03-28 05:00", "2026-03-29 04:00", "2026-03-30 04:00"}));
  EXPECT_EQ(ticks("0 6 * * *", kBerlin, utc(2026, 10, 24, 5), 2),
            (Texts{"2026-10-25 05:00", "2026-10-26 05:00"}));
  EXPECT_EQ(ticks("0 6 * * *", kLordHowe, utc(2026, 4, 3), 3),
            (Texts{"2026-04-03 19:00", "2026-04-04 19:30", "2026-04-05 19:30"}));
}

TEST(ScheduleTest, RunsAtTheEndOfTheGapThatATickFallsInto) {
  // 02:00 to 03:00 is left out; 03:00 there is 01:00 UTC.
  EXPECT_EQ(ticks("30 2 * * *", kBerlin, utc(2026, 3, 28, 0), 3),
            (Texts{"2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"}));
  EXPECT_EQ(ticks("0,20,40 2,3 * * *", kBerlin, utc(2026, 3, 29, 0), 4),
            (Texts{"2026-03-29 01:00", "2026-03-29 01:20", "2026-03-29 01:40", "2026-03-30 00:00"}))
      << "once, however many fall into it";
  // Lord Howe: 02:00 to 02:30 is left out; 02:30 there is 15:30 UTC.
  EXPECT_EQ(ticks("15 2 * * *", kLordHowe, utc(2026, 10, 3), 2),
            (Texts{"2026-10-03 15:30", "2026-10-04 15:15"}));
}

TEST(ScheduleTest, RunsOnceInAnHourThatComesTwice) {
  // 02:00 to 03:00 comes at 00:00 UTC and again at 01:00.
  EXPECT_EQ(ticks("30 2 * * *", kBerlin, utc(2026, 10, 24, 12), 2),
            (Texts{"2026-10-25 00:30", "2026-10-26 01:30"}));
  EXPECT_EQ(ticks("0,30 2,3 * * *", kBerlin, utc(2026, 10, 25, 0, 10), 2),
            (Texts{"2026-10-25 00:30", "2026-10-25 02:00"}));
  // Lord Howe: 01:30 to 02:00 comes at 14:30 UTC and again at 15:00.
  EXPECT_EQ(ticks("45 1 * * *", kLordHowe, utc(2026, 4, 4), 2),
            (Texts{"2026-04-04 14:45", "2026-04-05 15:15"}));
  EXPECT_EQ(ticks("45 1 * * *", kLordHowe, utc(2026, 4, 4, 15, 5), 1), (Texts{"2026-04-05 15:15"}));
}

TEST(ScheduleTest, CountsMinutesAsTheyPassWhereNoHourIsNamed) {
  EXPECT_EQ(ticks("*/30 * * * *", kBerlin, utc(2026, 10, 25, 0), 5),
            (Texts{"2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30", "2026-10-25 02:00",
                   "2026-10-25 02:30"}));
  EXPECT_EQ(ticks("30 * * * *", kBerlin, utc(2026, 3, 29, 0), 3),
            (Texts{"2026-03-29 00:30", "2026-03-29 01:30", "2026-03-29 02:30"}));
  EXPECT_EQ(
      ticks("40 * * * *", kLordHowe, utc(2026, 4, 4, 14), 4),
      (Texts{"2026-04-04 14:40", "2026-04-04 15:10", "2026-04-04 16:10", "2026-04-04 17:10"}));
}

// Walks every minute of the days around a change and looks at the clocks.
Texts ticks_by_walking(const Cron& cron, const TimeZone& zone, Time from, Time until) {
  const auto shown = [&](Time time) {
    return WallMinute{(time.us + zone.span_at(time).offset_s * 1'000'000) / 60'000'000};
  };
  WallMinute latest{shown(from).count};  // that has been shown
  for (Time t = from - Duration::seconds(2 * 86400); t < from; t = t + Duration::seconds(60)) {
    latest = std::max(latest, shown(t));
  }
  Texts found;
  for (Time t = from + Duration::seconds(60); t <= until; t = t + Duration::seconds(60)) {
    bool due = cron.is_every_hour() && cron.matches(shown(t));
    for (; latest < shown(t); ++latest.count) {
      due = due || (!cron.is_every_hour() && cron.matches({latest.count + 1}));
    }
    if (due) found.push_back(text_of(t));
  }
  return found;
}

std::string random_cron(std::mt19937& random) {
  const auto one = [&](int least, int most) {
    return std::to_string(least +
                          static_cast<int>(random() % static_cast<unsigned>(most - least + 1)));
  };
  const auto field = [&](int least, int most) -> std::string {
    switch (random() % 5) {
      case 0:
        return one(least, most);
      case 1:
        return one(least, most) + "," + one(least, most);
      case 2:
        return "*/" + one(1, most);
      case 3:
        return one(least, least + 1) + "-" + one(least + 2, most) + "/" + one(1, 4);
      default:
        return "*";
    }
  };
  return field(0, 59) + " " + field(0, 23) + " " + field(1, 28) + " " + field(1, 12) + " " +
         field(0, 7);
}

TEST(ScheduleTest, HasTheTicksThatOneFindsByLookingAtTheClockEveryMinute) {
  const auto seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  struct Change {
    const TimeZone& zone;
    Time at;
  };
  const Change changes[] = {{kBerlin, utc(2026, 3, 29, 1)},
                            {kBerlin, utc(2026, 10, 25, 1)},
                            {kLordHowe, utc(2026, 4, 4, 15)},
                            {kLordHowe, utc(2026, 10, 3, 15, 30)}};
  for (int i = 0; i < 200; ++i) {
    const std::string text = random_cron(random);
    const auto schedule = cron_schedule(text, "Some/Where");
    ASSERT_TRUE(schedule.ok()) << text;
    for (const Change& change : changes) {
      const Time from = change.at - Duration::seconds(kHour * 3);
      const Time until = change.at + Duration::seconds(kHour * 30);
      const Ticks all(*schedule, change.zone, Time{});
      Texts found;
      std::optional<Time> last;
      for (auto tick = all.first_after(from); tick && *tick <= until;
           tick = all.first_after(*tick)) {
        found.push_back(text_of(*tick));
        last = tick;
      }
      ASSERT_EQ(found, ticks_by_walking(*schedule->cron, change.zone, from, until)) << text;
      ASSERT_EQ(all.newest(from, until), last) << text;
      ASSERT_EQ(all.count(from, until, 1 << 20), static_cast<std::int64_t>(found.size())) << text;
    }
  }
}

TEST(CronTest, TakesOrRefusesWhateverBytesComeAndFiresWhereItSays) {
  const auto seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  constexpr std::string_view kBytes = "0123456789*,-/ \tjanmondec@daily\0\xff";
  int taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = random_cron(random);
    for (int changes = static_cast<int>(random() % 4); changes > 0; --changes) {
      const char byte = kBytes[random() % kBytes.size()];
      const std::size_t at = random() % (text.size() + 1);
      if (random() % 2 == 0 || at == text.size()) {
        text.insert(at, 1, byte);
      } else {
        text[at] = byte;
      }
    }
    const auto cron = Cron::parse(text);
    if (!cron) {
      ASSERT_FALSE(cron.error().message.empty());
      continue;
    }
    ++taken;
    const WallMinute from{static_cast<std::int64_t>(random() % 60'000'000)};
    const auto first = cron->first_from(from);
    ASSERT_TRUE(first) << text;
    ASSERT_GE(*first, from);
    ASSERT_TRUE(cron->matches(*first)) << text;
    for (std::int64_t before = std::max(from.count, first->count - 2000); before < first->count;
         ++before) {
      ASSERT_FALSE(cron->matches({before})) << text;
    }
  }
  EXPECT_GT(taken, 1000);
}

TEST(ScheduleTest, CountsAPeriodFromItsAnchor) {
  const auto schedule = period_schedule(Duration::seconds(90));
  ASSERT_TRUE(schedule.ok());
  const Time anchor = utc(2026, 1, 1);
  const Ticks all(*schedule, kUtc, anchor);
  const auto at = [&](std::int64_t seconds) { return anchor + Duration::seconds(seconds); };
  EXPECT_EQ(all.first_after(anchor), at(90));
  EXPECT_EQ(all.first_after(at(89)), at(90));
  EXPECT_EQ(all.first_after(at(90)), at(180));
  EXPECT_EQ(all.first_after(at(-1000)), at(90));
  EXPECT_EQ(all.newest(anchor, at(1000)), at(990));
  EXPECT_EQ(all.newest(anchor, at(90)), at(90)) << "the end is within";
  EXPECT_EQ(all.newest(at(90), at(179)), std::nullopt);
  EXPECT_EQ(all.newest(anchor, at(90 * 100'000)), at(90 * 100'000));
  EXPECT_EQ(all.count(anchor, at(1000), 100), 11);
  EXPECT_EQ(all.count(anchor, at(1'000'000), 100), 100);
}

TEST(ScheduleTest, FindsTheNewestTickOfManyYears) {
  const auto yearly = cron_schedule("@yearly", "UTC");
  const auto always = cron_schedule("* * * * *", "UTC");
  ASSERT_TRUE(yearly.ok() && always.ok());
  EXPECT_EQ(Ticks(*yearly, kUtc, {}).newest(utc(2000, 6, 1), utc(2026, 6, 1)), utc(2026, 1, 1));
  EXPECT_EQ(Ticks(*always, kUtc, {}).newest(utc(2000, 6, 1), utc(2026, 6, 1)), utc(2026, 6, 1));
  EXPECT_EQ(Ticks(*yearly, kUtc, {}).newest(utc(2026, 1, 1), utc(2026, 6, 1)), std::nullopt);
}

TEST(ScheduleTest, SaysWhatItIs) {
  EXPECT_EQ(cron_schedule("0 6 * * *", "Europe/Berlin")->text(), "0 6 * * * Europe/Berlin");
  EXPECT_EQ(period_schedule(Duration::seconds(90))->text(), "every 90 s");
  EXPECT_EQ(period_schedule(Duration::milliseconds(1050))->text(), "every 1.050 s");
  EXPECT_FALSE(period_schedule(Duration::milliseconds(999)).ok());
  EXPECT_FALSE(period_schedule(Duration::seconds(367ll * 86400)).ok());
}

TEST(ScheduleTest, TakesNoNameOfAZoneThatLeadsElsewhere) {
  for (const char* fine : {"UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+5"}) {
    EXPECT_TRUE(is_zone_name(fine)) << fine;
  }
  for (const char* wrong :
       {"", "/etc/passwd", "../passwd", "Europe/../x", "a//b", "Europe/", ".", "Europe Berlin"}) {
    EXPECT_FALSE(is_zone_name(wrong)) << wrong;
  }
  EXPECT_FALSE(cron_schedule("0 6 * * *", "../x").ok());
}

}  // namespace
}  // namespace ember
