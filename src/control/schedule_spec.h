// The JSON form of a schedule, as deploys and the store have it.
#pragma once

#include <string>

#include "control/json.h"
#include "model/schedule.h"

namespace ember {

// {"cron": "0 6 * * *", "timezone": "UTC"} or {"period_ms": 1000}, and "missed" and "overlap".
Result<Schedule> parse_schedule(const JsonValue& value, const std::string& path);
JsonValue to_json(const Schedule& schedule);

std::string_view missed_name(MissedTicks missed);
std::string_view overlap_name(Overlap overlap);

}  // namespace ember
