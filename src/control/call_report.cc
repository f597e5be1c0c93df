#include "control/call_report.h"

#include "control/json.h"

namespace ember {
namespace {

ErrorCode code_named(std::string_view name) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::internal); ++code) {
    if (error_name(static_cast<ErrorCode>(code)) == name) return static_cast<ErrorCode>(code);
  }
  return ErrorCode::internal;
}

}  // namespace

std::string to_report_json(const CallReport& report, const CallFailure* failure) {
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
    value["error"] = {{"code", error_name(failure->error.code)},
                      {"message", failure->error.message},
                      {"status", failure->status}};
  }
  return dump_json(value);
}

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
    stored.failure.error = {code_named(error->value("code", std::string())),
                            error->value("message", std::string())};
    stored.failure.status = error->value("status", 0);
  }
  return stored;
}

}  // namespace ember
