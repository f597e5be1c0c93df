#include "control/webhook_body.h"

#include <fmt/format.h>

#include "base/civil.h"
#include "control/json.h"
#include "control/stored_call.h"

namespace ember {
namespace {

constexpr std::int64_t kSecondsOfADay = 24 * 60 * 60;
constexpr std::size_t kMaxMessageBytes = 4096;

std::string iso_time(Time at) {
  const std::int64_t ms = at.whole_ms();
  const std::int64_t day = ms / 1000 / kSecondsOfADay, second = ms / 1000 % kSecondsOfADay;
  const CivilDay date = civil_of(day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", date.year, date.month, date.day,
                     second / 3600, second / 60 % 60, second % 60, ms % 1000);
}

// What a runner calls JSON need not be it.
bool is_small_json(const Body& value) {
  return value.format == BodyFormat::json && value.bytes.size() <= kMaxWebhookResult &&
         JsonValue::accept(value.bytes);
}

}  // namespace

std::string webhook_type(const CallEndRecord& end) { return "call." + end.state; }

// A result goes in as it came, so that no number of it changes.
std::string webhook_body(const WebhookTarget& target, const CallEndRecord& end,
                         const CallOutcome& outcome, std::string_view server) {
  const bool is_value = outcome.kind == CallOutcome::Kind::value;
  JsonValue data{{"call_id", end.id.text()},
                 {"app", target.app},
                 {"function", target.function},
                 {"state", end.state},
                 {"error", nullptr},
                 {"url", std::string(server) + "/api/v1/calls/" + end.id.text() + "/result"}};
  if (!is_value) {
    const Error& error = outcome.failure.error;
    data["error"] = {{"code", told_code(outcome.failure)},
                     {"message", error.message.substr(0, kMaxMessageBytes)}};
  }
  std::string body = dump_json({{"type", webhook_type(end)}, {"timestamp", iso_time(end.ended)}});
  body.pop_back();
  body += ",\"data\":";
  body += dump_json(data);
  if (is_value && is_small_json(outcome.value)) {
    body.pop_back();
    body += ",\"result\":";
    body += outcome.value.bytes;
    body += "}";
  }
  return body += "}";
}

}  // namespace ember
