#include "control/stored_call.h"

#include "control/calls.h"

namespace ember {
namespace {

ErrorCode code_named(std::string_view name) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::internal); ++code) {
    if (error_name(static_cast<ErrorCode>(code)) == name) return static_cast<ErrorCode>(code);
  }
  return ErrorCode::internal;
}

struct StoredReport {
  CallReport report;
  CallFailure failure;  // without its body
  JsonValue progress;   // null for none
};

}  // namespace

std::string_view told_code(const CallFailure& failure) {
  return failure.told_code.empty() ? error_name(failure.error.code) : failure.told_code;
}

namespace {

std::string to_report_json(const CallReport& report, const CallFailure* failure,
                           const JsonValue& progress) {
  JsonValue value{{"container_id", report.container.value},
                  {"queued_us", report.queued_us},
                  {"execute_us", report.execute_us},
                  {"total_us", report.total_us},
                  {"cold", report.cold},
                  {"boot_ms", report.boot_ms},
                  {"load_ms", report.load_ms},
                  {"cost_nano_usd", report.cost.nano_usd},
                  {"start_cost_nano_usd", report.start_cost.nano_usd},
                  {"pays_start", report.pays_start},
                  {"gpu", report.gpu},
                  {"attempt", report.attempt}};
  if (failure) {
    value["error"] = {{"code", told_code(*failure)},
                      {"message", failure->error.message},
                      {"status", failure->status}};
  }
  if (!progress.is_null()) value["progress"] = progress;
  return dump_json(value);
}

// What cannot be read is left out: it is our own text.
StoredReport read_report_json(CallId call, std::string_view json) {
  StoredReport stored;
  CallReport& report = stored.report;
  report.call = call;
  const JsonValue value = JsonValue::parse(json, nullptr, false);
  if (!value.is_object()) return stored;
  report.container = ContainerId{value.value("container_id", std::uint64_t{0})};
  report.queued_us = value.value("queued_us", std::int64_t{0});
  report.execute_us = value.value("execute_us", std::int64_t{0});
  report.total_us = value.value("total_us", std::int64_t{0});
  report.cold = value.value("cold", false);
  report.boot_ms = value.value("boot_ms", std::int64_t{0});
  report.load_ms = value.value("load_ms", std::int64_t{0});
  report.cost = Money{value.value("cost_nano_usd", std::int64_t{0})};
  report.start_cost = Money{value.value("start_cost_nano_usd", std::int64_t{0})};
  report.pays_start = value.value("pays_start", false);
  report.gpu = value.value("gpu", std::string());
  report.attempt = value.value("attempt", std::uint16_t{0});
  if (const auto error = value.find("error"); error != value.end() && error->is_object()) {
    const std::string code = error->value("code", std::string());
    stored.failure.error = {code_named(code), error->value("message", std::string())};
    stored.failure.status = error->value("status", 0);
    if (code == kDeadlock) {
      stored.failure.error.code = ErrorCode::conflict;
      stored.failure.told_code = kDeadlock;
    }
  }
  stored.progress = value.value("progress", JsonValue());
  return stored;
}

StoredReport report_of(const StoredCall& stored) {
  return read_report_json(stored.call.id, stored.end ? stored.end->report_json : "");
}

JsonValue parent_of(const CallRecord& call) {
  return call.parent ? JsonValue(call.parent.text()) : JsonValue();
}

CallState state_of(const CallOutcome& outcome) {
  if (outcome.kind == CallOutcome::Kind::value) return CallState::succeeded;
  return ended_state(outcome.failure.error.code);
}

}  // namespace

CallEndRecord end_record(CallId call, Time ended, const CallOutcome& outcome,
                         const JsonValue& progress) {
  const bool is_value = outcome.kind == CallOutcome::Kind::value;
  return {.id = call,
          .ended = ended,
          .state = std::string(call_state_name(state_of(outcome))),
          .format = is_value ? outcome.value.format : BodyFormat::json,
          .body = is_value ? outcome.value.bytes : outcome.failure.body,
          .report_json =
              to_report_json(outcome.report, is_value ? nullptr : &outcome.failure, progress)};
}

// The value or failure that a runner's body stands for.
CallOutcome outcome_of(const StoredCall& stored) {
  CallOutcome outcome;
  StoredReport kept = report_of(stored);
  outcome.report = std::move(kept.report);
  if (stored.end->state == call_state_name(CallState::succeeded)) {
    outcome.kind = CallOutcome::Kind::value;
    outcome.value = {stored.end->format, stored.end->body};
  } else {
    outcome.kind = CallOutcome::Kind::failure;
    outcome.failure = std::move(kept.failure);
    outcome.failure.body = stored.end->body;
  }
  return outcome;
}

CallReport stored_report(const StoredCall& stored) { return report_of(stored).report; }

JsonValue entry_of(const StoredCall& stored) {
  const StoredReport kept = report_of(stored);
  const CallReport& report = kept.report;
  JsonValue value{{"call_id", stored.call.id.text()},
                  {"app", stored.call.app},
                  {"function", stored.call.function},
                  {"state", stored.end ? stored.end->state : "waiting"},
                  {"arrived_ms", stored.call.arrived.whole_ms()},
                  {"cold", report.attempt ? JsonValue(report.cold) : JsonValue()},
                  {"queued_us", report.queued_us},
                  {"execute_us", report.execute_us},
                  {"total_us", report.total_us},
                  {"cost_usd", report.cost.decimal()},
                  {"parent_call_id", parent_of(stored.call)},
                  {"progress", kept.progress}};
  return value;
}

JsonValue document_of(const StoredCall& stored) {
  const StoredReport kept = report_of(stored);
  const CallReport& report = kept.report;
  JsonValue document = entry_of(stored);
  document["reason"] = stored.end ? "it has ended" : "";
  document["container_id"] = report.container ? JsonValue(report.container.text()) : JsonValue();
  document["attempt"] = report.attempt;
  document["phases_ms"] = {{"queue", report.queued_us / 1000},
                           {"boot", report.boot_ms},
                           {"load", report.load_ms},
                           {"execute", report.execute_us / 1000}};
  document["start_us"] = nullptr;
  document["error"] = nullptr;
  const Error& error = kept.failure.error;
  if (stored.end && !error.message.empty()) {
    document["error"] = {{"code", told_code(kept.failure)}, {"message", error.message}};
  }
  document["priority"] = stored.call.priority.value;
  document["webhook_id"] = nullptr;
  if (!stored.call.webhook.empty()) {
    document["webhook_id"] = WebhookId{stored.call.id.value}.text();
  }
  if (stored.call.repeats) document["repeats"] = stored.call.repeats.text();
  return document;
}

}  // namespace ember
