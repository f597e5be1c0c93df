// A call's report as text, for the store: what it cost and where its time went.
#pragma once

#include <string>
#include <string_view>

#include "control/control.h"

namespace ember {

std::string to_report_json(const CallReport& report, const CallFailure* failure);

struct StoredReport {
  CallReport report;
  CallFailure failure;  // without its body
};

// What cannot be read is left out: it is our own text.
StoredReport read_report_json(CallId call, std::string_view json);

}  // namespace ember
