// When a cron expression wants to run, by the clock on the wall. No time zone: see schedule.h.
//
// Five fields: minute, hour, day of the month, month, day of the week, each of lists, ranges and
// steps ("*/15", "8-18/2,23"), months and days also by name. If both days are given, either will
// do; a field that begins with "*" is not given, as in the classic cron.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ember {

// A minute on the wall: minutes from 1970-01-01 00:00 there.
struct WallMinute {
  std::int64_t count = 0;

  friend constexpr auto operator<=>(WallMinute, WallMinute) = default;
};

class Cron {
 public:
  // Also "@daily" and the like. Refuses what can never fire.
  static Result<Cron> parse(std::string_view text);

  // The first minute from then on that matches.
  std::optional<WallMinute> first_from(WallMinute from) const;
  bool matches(WallMinute minute) const;
  // Whether no hour is named, so that it counts minutes as they pass.
  bool is_every_hour() const;

 private:
  bool is_day(std::int64_t day) const;

  std::uint64_t minutes_ = 0;  // a bit for each value, here and below
  std::uint64_t hours_ = 0, month_days_ = 0, months_ = 0, week_days_ = 0;
  bool any_month_day_ = false, any_week_day_ = false;  // begins with "*"
};

}  // namespace ember
