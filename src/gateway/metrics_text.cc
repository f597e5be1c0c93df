#include "gateway/metrics_text.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <span>

namespace ember {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Function = Control::FunctionMetrics;
using Functions = std::vector<Function>;
using Labels = std::vector<ClientMetric::Label>;

Labels labels_of(const Function& function) {
  return {{"app", function.app}, {"faas_name", function.function}};
}

Labels labels_of(const Function& function, const char* name, const char* value) {
  Labels labels = labels_of(function);
  labels.push_back({name, value});
  return labels;
}

MetricFamily family(MetricType type, const char* name, const char* help) {
  MetricFamily result;
  result.name = name;
  result.help = help;
  result.type = type;
  return result;
}

void add(MetricFamily& to, Labels labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  if (to.type == MetricType::Counter) metric.counter.value = value;
  if (to.type == MetricType::Gauge) metric.gauge.value = value;
  to.metric.push_back(std::move(metric));
}

template <class Number>
MetricFamily per_function(MetricType type, const char* name, const char* help,
                          const Functions& functions, Number Function::*member,
                          double units_per_one = 1) {
  MetricFamily result = family(type, name, help);
  for (const Function& function : functions) {
    add(result, labels_of(function), static_cast<double>(function.*member) / units_per_one);
  }
  return result;
}

ClientMetric::Histogram histogram(const std::vector<std::uint64_t>& counts, std::int64_t sum_us,
                                  std::span<const std::int64_t> bounds_ms) {
  ClientMetric::Histogram result;
  for (std::size_t i = 0; i <= bounds_ms.size(); ++i) {
    result.sample_count += i < counts.size() ? counts[i] : 0;
    ClientMetric::Bucket bucket;
    bucket.cumulative_count = result.sample_count;
    bucket.upper_bound = i < bounds_ms.size() ? static_cast<double>(bounds_ms[i]) / 1e3
                                              : std::numeric_limits<double>::infinity();
    result.bucket.push_back(bucket);
  }
  result.sample_sum = static_cast<double>(sum_us) / 1e6;
  return result;
}

MetricFamily histograms(const char* name, const char* help, const Functions& functions,
                        std::vector<std::uint64_t> Function::*counts, std::int64_t Function::*sum,
                        std::span<const std::int64_t> bounds_ms) {
  MetricFamily result = family(MetricType::Histogram, name, help);
  for (const Function& function : functions) {
    ClientMetric metric;
    metric.label = labels_of(function);
    metric.histogram = histogram(function.*counts, function.*sum, bounds_ms);
    result.metric.push_back(std::move(metric));
  }
  return result;
}

MetricFamily replicas(const Functions& functions) {
  MetricFamily result = family(MetricType::Gauge, "ember_replicas", "Containers by state");
  for (const Function& function : functions) {
    add(result, labels_of(function, "state", "starting"), function.starting);
    add(result, labels_of(function, "state", "idle"), function.idle);
    add(result, labels_of(function, "state", "busy"), function.busy);
  }
  return result;
}

MetricFamily gpu_seconds(const Functions& functions) {
  MetricFamily result = family(MetricType::Counter, "ember_gpu_seconds_total",
                               "GPU time held: executing, starting (cold) or idle");
  const auto seconds = [](std::uint64_t ms) { return static_cast<double>(ms) / 1e3; };
  for (const Function& function : functions) {
    add(result, labels_of(function, "kind", "busy"), seconds(function.gpu_ms_busy));
    add(result, labels_of(function, "kind", "cold"), seconds(function.gpu_ms_cold));
    add(result, labels_of(function, "kind", "idle"), seconds(function.gpu_ms_idle));
  }
  return result;
}

// The members of what was dropped.
MetricFamily dropped_logs(const char* name, const char* help, const Functions& functions,
                          std::uint64_t DroppedLogs::*member) {
  MetricFamily result = family(MetricType::Counter, name, help);
  for (const Function& function : functions) {
    add(result, labels_of(function), static_cast<double>(function.logs_dropped.*member));
  }
  return result;
}

MetricFamily single(MetricType type, const char* name, const char* help, double value) {
  MetricFamily result = family(type, name, help);
  add(result, {}, value);
  return result;
}

MetricFamily webhooks_ended(const WebhookCounts& webhooks) {
  MetricFamily result =
      family(MetricType::Counter, "ember_webhooks_total", "Webhooks delivered, or given up");
  add(result, {{"state", "delivered"}}, static_cast<double>(webhooks.delivered));
  add(result, {{"state", "dead"}}, static_cast<double>(webhooks.dead));
  return result;
}

}  // namespace

std::string metrics_text(const Functions& functions, const WebhookCounts& webhooks,
                         const EdgeStats& stats) {
  constexpr auto kCounter = MetricType::Counter;
  constexpr auto kGauge = MetricType::Gauge;
  const std::vector<MetricFamily> families = {
      per_function(kCounter, "faas_invocations_total", "Calls that succeeded", functions,
                   &Function::succeeded),
      per_function(kCounter, "faas_errors_total", "Calls that failed", functions,
                   &Function::errors),
      per_function(kCounter, "faas_timeouts_total", "Calls that ran over their timeout", functions,
                   &Function::timeouts),
      per_function(kCounter, "faas_coldstarts_total", "Container starts that a call waited for",
                   functions, &Function::cold_starts),
      histograms("faas_invoke_duration_seconds", "Execution of a call", functions,
                 &Function::invoke_buckets, &Function::invoke_sum_us, kInvokeBucketsMs),
      histograms("faas_init_duration_seconds", "Start of a container, to ready", functions,
                 &Function::init_buckets, &Function::init_sum_us, kInitBucketsMs),
      per_function(kGauge, "ember_queue_depth", "Inputs waiting", functions, &Function::waiting),
      per_function(kGauge, "ember_queue_oldest_seconds", "Age of the input that waits longest",
                   functions, &Function::queue_oldest_us, 1e6),
      per_function(kGauge, "ember_inputs_running", "Inputs on containers", functions,
                   &Function::running),
      replicas(functions),
      gpu_seconds(functions),
      per_function(kCounter, "ember_cost_usd_total", "Cost of all containers", functions,
                   &Function::cost_nano_usd, 1e9),
      dropped_logs("ember_log_lines_dropped_total", "Log lines that a limit kept out", functions,
                   &DroppedLogs::lines),
      dropped_logs("ember_log_bytes_dropped_total", "Bytes of these", functions,
                   &DroppedLogs::bytes),
      webhooks_ended(webhooks),
      single(kCounter, "ember_webhook_failed_tries_total",
             "Tries to send a webhook that its receiver did not take",
             static_cast<double>(webhooks.failed_tries)),
      single(kGauge, "ember_webhooks_waiting", "Webhooks to be sent, or sent again",
             static_cast<double>(webhooks.waiting)),
      single(kCounter, "http_server_requests_total", "HTTP requests received",
             static_cast<double>(stats.requests)),
      single(kGauge, "http_server_open_connections", "Client connections",
             static_cast<double>(stats.connections)),
  };
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace ember
