#include "control/schedule_spec.h"

#include <algorithm>

namespace ember {
namespace {

constexpr std::int64_t kMostMs = 1ll << 40;  // more than any period, and no overflow

}  // namespace

std::string_view missed_name(MissedTicks missed) {
  return missed == MissedTicks::skip ? "skip" : "run_once";
}

std::string_view overlap_name(Overlap overlap) {
  return overlap == Overlap::skip ? "skip" : "allow";
}

Result<Schedule> parse_schedule(const JsonValue& value, const std::string& path) {
  Fields fields(value, path + ".");
  const std::string cron = fields.text_or("cron", "");
  const std::string timezone = fields.text_or("timezone", "UTC");
  const std::int64_t period_ms = fields.integer_or("period_ms", 0);
  const std::string missed = fields.text_or("missed", "skip");
  const std::string overlap = fields.text_or("overlap", "skip");
  if (missed != "skip" && missed != "run_once") {
    fields.fail("missed", "must be \"skip\" or \"run_once\"");
  }
  if (overlap != "skip" && overlap != "allow") {
    fields.fail("overlap", "must be \"skip\" or \"allow\"");
  }
  if (cron.empty() == (period_ms == 0)) fields.fail("cron", "or period_ms must be given, not both");
  if (auto read = fields.finish(); !read) return std::move(read).error();
  auto schedule =
      cron.empty()
          ? period_schedule(Duration::milliseconds(std::clamp<std::int64_t>(period_ms, 0, kMostMs)))
          : cron_schedule(cron, timezone);
  if (!schedule) {
    const std::string what = cron.empty() ? path : path + ": cron \"" + cron.substr(0, 64) + "\"";
    return std::move(schedule).error().within(what);
  }
  schedule->missed = missed == "skip" ? MissedTicks::skip : MissedTicks::run_once;
  schedule->overlap = overlap == "skip" ? Overlap::skip : Overlap::allow;
  return schedule;
}

JsonValue to_json(const Schedule& schedule) {
  JsonValue value = JsonValue::object();
  if (schedule.cron) {
    value["cron"] = schedule.cron_text;
    value["timezone"] = schedule.timezone;
  } else {
    value["period_ms"] = schedule.period.whole_ms();
  }
  value["missed"] = missed_name(schedule.missed);
  value["overlap"] = overlap_name(schedule.overlap);
  return value;
}

}  // namespace ember
