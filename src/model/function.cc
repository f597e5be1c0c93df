#include "model/function.h"

#include <algorithm>

namespace ember {
namespace {

constexpr std::size_t kMaxNameLength = 63;
constexpr std::int64_t kMiB = 1ll << 20;

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

Result<> check_range(std::string_view field, std::int64_t value, std::int64_t low,
                     std::int64_t high) {
  if (value >= low && value <= high) return Ok{};
  return {ErrorCode::invalid_argument, std::string(field) + " is " + std::to_string(value) +
                                           "; it must be from " + std::to_string(low) + " to " +
                                           std::to_string(high)};
}

Result<> check_scaling(const Scaling& scaling, const Batching& batching) {
  struct Range {
    std::string_view field;
    std::int64_t value, low, high;
  };
  const Range ranges[] = {
      {"max_containers", scaling.max_containers, 1, 10'000},
      {"min_containers", scaling.min_containers, 0, scaling.max_containers},
      {"buffer_containers", scaling.buffer_containers, 0, scaling.max_containers},
      {"scaledown_window (ms)", scaling.scaledown_window.whole_ms(), 0, 24ll * 3600 * 1000},
      {"max_inputs", scaling.max_inputs, 1, 1000},
      {"target_inputs", scaling.target_inputs, 1, scaling.max_inputs},
      {"queue_limit", scaling.queue_limit, 1, 1'000'000},
      {"max_batch_size", batching.max_batch_size, 0, 1000},
      {"batch_wait (ms)", batching.wait.whole_ms(), 0, 600'000},
  };
  for (const Range& range : ranges) {
    if (auto result = check_range(range.field, range.value, range.low, range.high); !result) {
      return result;
    }
  }
  return Ok{};
}

// The most that a delay may be is as in the field's other services.
Result<> check_retries(const Retries& retries) {
  constexpr std::int64_t kMostRetries = 10, kHourMs = 3600 * 1000;
  if (auto r = check_range("max_retries", retries.max_retries, 0, kMostRetries); !r) return r;
  if (auto r = check_range("initial_delay (ms)", retries.initial_delay.whole_ms(), 0, kHourMs);
      !r) {
    return r;
  }
  if (auto r = check_range("backoff_coefficient (1/1000)", retries.backoff_permille, 1000, 10'000);
      !r) {
    return r;
  }
  return check_range("max_delay (ms)", retries.max_delay.whole_ms(), 1, kHourMs);
}

}  // namespace

Result<> check(const FunctionSettings& settings) {
  const Resources& resources = settings.resources;
  constexpr std::int64_t kDayMs = 24ll * 3600 * 1000;
  if (auto r = check_range("cpu (milli-cores)", resources.cpu_millicores, 10, 1'024'000); !r)
    return r;
  if (auto r = check_range("memory (bytes)", resources.memory_bytes, 16 * kMiB, 1ll << 44); !r)
    return r;
  if (auto r = check_range("timeout (ms)", settings.timeout.whole_ms(), 1, kDayMs); !r) return r;
  if (auto r = check_range("startup_timeout (ms)", settings.startup_timeout.whole_ms(), 1, kDayMs);
      !r) {
    return r;
  }
  if (auto r = check_retries(settings.retries); !r) return r;
  return check_scaling(settings.scaling, settings.batching);
}

Result<> check_name(std::string_view kind, std::string_view name) {
  const bool fits = !name.empty() && name.size() <= kMaxNameLength && is_alphanumeric(name[0]);
  const bool clean = std::all_of(name.begin(), name.end(), [](char c) {
    return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
  });
  if (fits && clean) return Ok{};
  return {
      ErrorCode::invalid_argument,
      "\"" + std::string(name.substr(0, kMaxNameLength)) + "\" is not a valid " +
          std::string(kind) +
          " name: use 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit"};
}

}  // namespace ember
