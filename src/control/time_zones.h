// Time zones by their names, from the machine's database (/usr/share/zoneinfo, package tzdata).
//
// The standard library of GCC 12 has no zones, Boost's are of a format of its own, and localtime()
// has one for the whole process: so the files are read here, TZif as of RFC 8536. Each is read once
// a life of the server, so that a zone does not change under a schedule.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/schedule.h"

namespace ember {

// A day of each year: "the last Sunday of March", or by its number.
struct YearDay {
  enum class Kind : std::uint8_t { of_month_and_week, julian, zero_based };
  Kind kind = Kind::zero_based;
  int month = 0, week = 0, weekday = 0;
  int day = 0;
  std::int64_t time_s = 2 * 3600;  // from its midnight, on the wall

  std::int64_t seconds_of(std::int64_t year) const;  // from 1970 on the wall
};

// What holds after the last change that a file lists.
struct ZoneRule {
  std::int64_t offset_s = 0;
  bool has_summer = false;
  std::int64_t summer_offset_s = 0;
  YearDay summer_begin, summer_end;
};

// Reads "CET-1CEST,M3.5.0,M10.5.0/3", as POSIX has it.
Result<ZoneRule> parse_zone_rule(std::string_view text);

class FileZone final : public TimeZone {
 public:
  // Whatever bytes come.
  static Result<FileZone> parse(std::string_view bytes);

  ZoneSpan span_at(Time time) const override;

 private:
  struct Change {
    Time at;
    std::int64_t offset_s = 0;
  };

  ZoneSpan span_by_rule(Time time, Time least) const;

  std::int64_t first_offset_s_ = 0;
  std::vector<Change> changes_;  // by time
  std::optional<ZoneRule> rule_;
};

class TimeZones {
 public:
  explicit TimeZones(std::string directory = "/usr/share/zoneinfo")
      : directory_(std::move(directory)) {}

  // Lives as long as this does. UTC is always there.
  Result<const TimeZone*> find(const std::string& name);

 private:
  const std::string directory_;
  std::map<std::string, std::unique_ptr<TimeZone>> known_;
};

}  // namespace ember
