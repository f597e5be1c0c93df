#include "billing/usage_meter.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace ember {
namespace {

constexpr std::size_t index(Phase phase) { return static_cast<std::size_t>(phase); }
constexpr Time floor_to_ms(Time time) { return Time::from_ms(time.whole_ms()); }

}  // namespace

void append_rows(const Holding& holding, const UsageWindow& window, std::vector<UsageRow>& rows) {
  const auto append = [&](Meter meter, std::int64_t units, const std::string& gpu_type) {
    if (units <= 0) return;
    for (std::size_t phase = 0; phase < kPhaseCount; ++phase) {
      if (window.ms[phase] == 0) continue;
      UsageRow& row = rows.emplace_back(UsageRow{holding.container, holding.pool, meter,
                                                 static_cast<Phase>(phase), window.start,
                                                 window.end, window.ms[phase], units, gpu_type});
      if (meter != Meter::gpu) continue;
      row.share_bytes = holding.share_bytes;
      row.device_bytes = holding.device_bytes;
    }
  };
  append(Meter::gpu, holding.devices, holding.gpu_type);
  append(Meter::cpu, holding.cpu_millicores, {});
  append(Meter::memory, holding.memory_bytes, {});
  for (std::size_t phase = 0; phase < kPhaseCount; ++phase) {
    if (window.egress_bytes[phase] == 0) continue;
    rows.push_back({holding.container,
                    holding.pool,
                    Meter::egress,
                    static_cast<Phase>(phase),
                    window.start,
                    window.end,
                    window.egress_bytes[phase],
                    1,
                    {}});
  }
}

void UsageMeter::start(Time at, Phase phase, Duration longest_window, std::int64_t egress_billed) {
  EMBER_ASSERT(!started() && longest_window.us >= 1000 && longest_window.us % 1000 == 0);
  window_start_ = floor_to_ms(at);
  time_ = window_start_;
  longest_window_ = longest_window;
  phase_ = phase;
  egress_counted_ = egress_billed;
}

void UsageMeter::advance(Time now) {
  if (now <= time_ || !started()) return;
  EMBER_ASSERT(now <= window_end());
  const std::int64_t passed = (now - time_).us;
  time_ = now;
  us_[index(current())] += passed;
  if (in_flight_ == 1) {
    share_clock_ += passed + share_carry_;
    share_carry_ = 0;
  } else if (in_flight_ > 1) {
    const std::int64_t total = passed + share_carry_;
    share_clock_ += total / in_flight_;
    share_carry_ = total % in_flight_;
  }
}

void UsageMeter::count_egress(std::int64_t total_bytes) {
  if (!started() || total_bytes <= egress_counted_) return;
  const Phase phase = ran_since_egress_ ? Phase::execute : phase_;
  egress_bytes_[index(phase)] += total_bytes - egress_counted_;
  egress_counted_ = total_bytes;
  ran_since_egress_ = in_flight_ > 0;
}

std::int64_t UsageMeter::join() {
  ++in_flight_;
  ran_since_egress_ = true;
  return share_clock_;
}

Duration UsageMeter::leave(std::int64_t reading) {
  EMBER_ASSERT(in_flight_ > 0);
  std::int64_t share = share_clock_ - reading;
  if (--in_flight_ == 0) {
    share += share_carry_;
    share_carry_ = 0;
  }
  return {share};
}

UsageWindow UsageMeter::close_window() {
  const Time end = window_end();
  advance(end);
  return cut_window(end);
}

Duration UsageMeter::take_back_after(Time at) {
  const Time end = std::max(at, window_start_);
  if (!started() || end >= time_) return {};
  const std::int64_t excess = (time_ - end).us;
  time_ = end;
  return {take_back(excess)};
}

std::optional<UsageWindow> UsageMeter::finish() {
  EMBER_ASSERT(in_flight_ == 0);
  if (!started()) return std::nullopt;
  const Time end = floor_to_ms(time_);
  take_back((time_ - end).us);
  time_ = end;
  const bool no_egress = egress_bytes_ == std::array<std::int64_t, kPhaseCount>{};
  if (end == window_start_ && no_egress) return std::nullopt;
  return cut_window(end);
}

// The current phase has counted last, so it gives first; the order of the others before it is not
// known any more. Returns what came from execute.
std::int64_t UsageMeter::take_back(std::int64_t us) {
  std::int64_t from_execute = 0;
  for (const Phase phase : {current(), Phase::idle, Phase::execute, Phase::load, Phase::boot}) {
    const std::int64_t taken = std::min(us, us_[index(phase)]);
    us_[index(phase)] -= taken;
    us -= taken;
    if (phase == Phase::execute) from_execute += taken;
  }
  EMBER_ASSERT(us == 0);
  return from_execute;
}

UsageWindow UsageMeter::cut_window(Time end) {
  UsageWindow window{window_start_, end, {}, std::exchange(egress_bytes_, {})};
  std::int64_t sum_us = 0;
  std::int64_t sum_ms = 0;
  for (std::size_t phase = 0; phase < kPhaseCount; ++phase) {
    sum_us += us_[phase];
    window.ms[phase] = sum_us / 1000 - sum_ms;
    sum_ms = sum_us / 1000;
    us_[phase] = 0;
  }
  EMBER_ASSERT(sum_us == (end - window_start_).us);
  window_start_ = end;
  return window;
}

std::array<std::int64_t, 8 + 2 * kPhaseCount> UsageMeter::digest() const {
  return {window_start_.us, time_.us,
          in_flight_,       share_clock_,
          share_carry_,     static_cast<std::int64_t>(phase_),
          egress_counted_,  ran_since_egress_,
          us_[0],           us_[1],
          us_[2],           us_[3],
          egress_bytes_[0], egress_bytes_[1],
          egress_bytes_[2], egress_bytes_[3]};
}

}  // namespace ember
