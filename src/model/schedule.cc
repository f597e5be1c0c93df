#include "model/schedule.h"

#include <algorithm>

namespace ember {
namespace {

constexpr std::int64_t kUsPerMinute = 60'000'000;
constexpr std::int64_t kUsPerSecond = 1'000'000;
constexpr Duration kLeastPeriod = Duration::seconds(1);
constexpr Duration kMostPeriod = Duration::seconds(366ll * 86'400);
constexpr Duration kMostOffset = Duration::seconds(2ll * 86'400);
constexpr Duration kNewestSearch = Duration::seconds(3600);
constexpr std::size_t kMaxZoneName = 64;

std::int64_t floor_of(std::int64_t value, std::int64_t by) {
  const std::int64_t quotient = value / by;
  return value % by < 0 ? quotient - 1 : quotient;
}

WallMinute on_the_wall(Time time, const ZoneSpan& span) {
  return {floor_of(time.us + span.offset_s * kUsPerSecond, kUsPerMinute)};
}

Time at(WallMinute minute, const ZoneSpan& span) {
  return {minute.count * kUsPerMinute - span.offset_s * kUsPerSecond};
}

}  // namespace

std::string Schedule::text() const {
  if (cron) return cron_text + " " + timezone;
  std::string number = std::to_string(period.us / kUsPerSecond);
  if (const std::int64_t rest_ms = period.whole_ms() % 1000; rest_ms > 0) {
    const std::string digits = std::to_string(1000 + rest_ms);
    number.append(".").append(digits, 1);
  }
  return "every " + number + " s";
}

bool is_zone_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxZoneName || name.front() == '/' || name.back() == '/') {
    return false;
  }
  const auto is_fine = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
           c == '_' || c == '-' || c == '+';
  };
  return std::ranges::all_of(name, is_fine) && name.find("//") == std::string_view::npos;
}

Result<Schedule> cron_schedule(std::string_view text, std::string_view timezone) {
  auto cron = Cron::parse(text);
  if (!cron) return std::move(cron).error();
  if (!is_zone_name(timezone)) {
    return {ErrorCode::invalid_argument,
            "the timezone is no name of one; they look like \"Europe/Berlin\""};
  }
  Schedule schedule;
  schedule.cron = std::move(*cron);
  schedule.cron_text = text;
  schedule.timezone = timezone;
  return schedule;
}

Result<Schedule> period_schedule(Duration period) {
  if (period < kLeastPeriod || period > kMostPeriod) {
    return {ErrorCode::invalid_argument, "a period is of 1 second to 366 days"};
  }
  Schedule schedule;
  schedule.period = period;
  return schedule;
}

// All times before the span that holds the beginning show earlier minutes.
Time Ticks::time_of(WallMinute minute) const {
  Time from = Time{minute.count * kUsPerMinute} - kMostOffset;
  while (true) {
    const ZoneSpan span = zone_.span_at(from);
    const Time shown = at(minute, span);
    if (shown < span.end) return std::max(shown, from);
    from = span.end;
  }
}

// Minutes up to the one that is shown have had their tick: the clocks have shown them or a later
// one.
std::optional<Time> Ticks::first_on_the_wall(Time after) const {
  WallMinute from{on_the_wall(after, zone_.span_at(after)).count + 1};
  while (const auto minute = schedule_.cron->first_from(from)) {
    const Time tick = time_of(*minute);
    if (tick > after) return tick;
    from = {minute->count + 1};
  }
  return std::nullopt;
}

std::optional<Time> Ticks::first_as_time_passes(Time after) const {
  ZoneSpan span = zone_.span_at(after);
  WallMinute from{on_the_wall(after, span).count + 1};
  while (const auto minute = schedule_.cron->first_from(from)) {
    const Time tick = at(*minute, span);
    if (tick < span.end) return tick;
    span = zone_.span_at(span.end);
    from = on_the_wall(span.begin, span);
    if (at(from, span) < span.begin) ++from.count;
  }
  return std::nullopt;
}

std::optional<Time> Ticks::first_after(Time after) const {
  if (schedule_.cron) {
    return schedule_.cron->is_every_hour() ? first_as_time_passes(after) : first_on_the_wall(after);
  }
  if (after < anchor_) return anchor_ + schedule_.period;
  const std::int64_t passed = (after - anchor_).us / schedule_.period.us;
  return anchor_ + schedule_.period * (passed + 1);
}

std::optional<Time> Ticks::newest(Time after, Time until) const {
  for (Duration looked = kNewestSearch; after < until; looked = looked * 8) {
    const Time from = std::max(after, until - looked);
    std::optional<Time> found;
    for (auto tick = first_after(from); tick && *tick <= until; tick = first_after(*tick)) {
      found = tick;
    }
    if (found || from == after) return found;
  }
  return std::nullopt;
}

std::int64_t Ticks::count(Time after, Time until, std::int64_t most) const {
  std::int64_t ticks = 0;
  auto tick = first_after(after);
  for (; ticks < most && tick && *tick <= until; ++ticks) tick = first_after(*tick);
  return ticks;
}

}  // namespace ember
