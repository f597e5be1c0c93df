// When a function is to be run by itself, and the ticks at which that is: a calculation, without a
// clock, over what a time zone is known to do.
//
// Ticks of a cron expression are minutes on the wall. Where a change of the clocks leaves a minute
// out, its tick comes as soon as the change has happened; where a minute comes twice, the first one
// is it. An expression that names no hour ("*/15 * * * *") follows the hours as they pass instead:
// nothing is made up for, and a repeated hour has its ticks like any other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "model/cron.h"

namespace ember {

// A stretch of time without a change of the clocks.
struct ZoneSpan {
  Time begin{std::numeric_limits<std::int64_t>::min()};
  Time end = Time::never();
  std::int64_t offset_s = 0;  // east of UTC, under two days
};

class TimeZone {
 public:
  virtual ~TimeZone() = default;
  // The span that holds the time. Spans tile all of time.
  virtual ZoneSpan span_at(Time time) const = 0;
};

class UtcZone final : public TimeZone {
 public:
  ZoneSpan span_at(Time) const override { return {}; }
};

// What becomes of ticks while no server was there: nothing, or the newest one is run at the start.
enum class MissedTicks : std::uint8_t { skip, run_once };
// What becomes of a tick while the call of the last one still lives.
enum class Overlap : std::uint8_t { skip, allow };

struct Schedule {
  std::optional<Cron> cron;      // or else a period
  std::string cron_text;         // as it was given
  std::string timezone = "UTC";  // of a cron expression
  Duration period;
  MissedTicks missed = MissedTicks::skip;
  Overlap overlap = Overlap::skip;

  // "0 6 * * * Europe/Berlin", "every 90 s": two with the same text have the same ticks.
  std::string text() const;
};

Result<Schedule> cron_schedule(std::string_view text, std::string_view timezone);
Result<Schedule> period_schedule(Duration period);  // 1 s to 366 days

// Whether it could name a time zone: the parts of a path, "America/Argentina/Ushuaia".
bool is_zone_name(std::string_view name);

// The ticks of a schedule; of a period they count from the anchor. Borrows all that it is given.
class Ticks {
 public:
  Ticks(const Schedule& schedule, const TimeZone& zone, Time anchor)
      : schedule_(schedule), zone_(zone), anchor_(anchor) {}

  std::optional<Time> first_after(Time after) const;
  // The last one with after < tick <= until.
  std::optional<Time> newest(Time after, Time until) const;
  // How many there are with after < tick <= until, at most `most`.
  std::int64_t count(Time after, Time until, std::int64_t most) const;

 private:
  std::optional<Time> first_on_the_wall(Time after) const;
  std::optional<Time> first_as_time_passes(Time after) const;
  // When the clocks of the zone show that minute or, for the first time, a later one.
  Time time_of(WallMinute minute) const;

  const Schedule& schedule_;
  const TimeZone& zone_;
  const Time anchor_;
};

}  // namespace ember
