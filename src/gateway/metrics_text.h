// /metrics: what control counts, as Prometheus text. The names are OpenTelemetry's faas.* where
// there is one, else ember_*.
#pragma once

#include <string>
#include <vector>

#include "control/control.h"
#include "control/webhook_service.h"
#include "gateway/api.h"

namespace ember {

std::string metrics_text(const std::vector<Control::FunctionMetrics>& functions,
                         const WebhookCounts& webhooks, const EdgeStats& stats);

}  // namespace ember
