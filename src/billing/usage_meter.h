// Meters the life of one container: how long it was in each phase, and how its execute time is
// shared by the inputs that ran on it.
//
// Windows tile the life. They begin and end on whole milliseconds and are at most a given length; a
// window is closed at the very boundary, because the meter never steps over one. Phases are
// accumulated in microseconds; within a window they become milliseconds by rounding the running sum
// over the phases down, so that they add up to the window exactly.
//
// Shares: a clock runs while inputs are in flight. Each stretch of time, and what the last division
// left over, is split equally; an input's share is what the clock advanced while it ran, and the
// last to leave takes the rest. So the shares add up to the execute microseconds, at O(1) a step.
//
// Egress comes as totals of the whole life, late, doubled or out of order. What a total has beyond
// the greatest one before is counted, in the window open at that moment; so the sum of all windows
// is the greatest total, and each byte is in one of them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/ids.h"
#include "model/usage.h"

namespace ember {

inline constexpr std::size_t kPhaseCount = 4;  // of a container's life

struct UsageWindow {
  Time start, end;                                       // whole milliseconds
  std::array<std::int64_t, kPhaseCount> ms{};            // by phase; together end - start
  std::array<std::int64_t, kPhaseCount> egress_bytes{};  // by phase
};

// What a container holds through its life.
struct Holding {
  ContainerId container;
  PoolId pool;
  std::int64_t devices = 0;
  std::string gpu_type;
  std::int64_t cpu_millicores = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t share_bytes = 0, device_bytes = 0;  // of a share of one device
};

// The rows of one window: per meter held and phase with time in it, and per phase with egress.
void append_rows(const Holding& holding, const UsageWindow& window, std::vector<UsageRow>& rows);

class UsageMeter {
 public:
  // Before start() the container holds nothing and all else does nothing. `egress_billed` is what
  // earlier rows of this life hold of it.
  void start(Time at, Phase phase, Duration longest_window, std::int64_t egress_billed = 0);
  bool started() const { return longest_window_.us > 0; }

  // Whether a window's end has come: then take it by close_window() before advancing.
  bool window_over(Time now) const { return started() && now >= window_end(); }
  Time window_end() const { return window_start_ + longest_window_; }
  UsageWindow close_window();

  // Lets time pass; a time before the last one passes none.
  void advance(Time now);
  // The phase from now on, while no input is in flight.
  void set_phase(Phase phase) { phase_ = phase; }

  // So many bytes have left the container in its life. Nobody saw when; they count as sent in
  // execute if an input ran since the last word that was new, else in the present phase.
  void count_egress(std::int64_t total_bytes);

  // An input begins: the reading to give to leave() when it ends.
  std::int64_t join();
  // An input ends: its share of the execute time.
  Duration leave(std::int64_t reading);

  // The container gave its resources back at `at`, before the time counted up to: what was counted
  // after that is taken back, as far as no window has recorded it. The node is the witness. Returns
  // how much of it was execute time, for the caller to take from the shares of those still in
  // flight.
  Duration take_back_after(Time at);
  // Ends the life here: the last window, if it has any length, or egress that came to be known
  // after an earlier one was closed. No input may be in flight.
  std::optional<UsageWindow> finish();

  // For the state hash.
  std::array<std::int64_t, 8 + 2 * kPhaseCount> digest() const;

 private:
  Phase current() const { return in_flight_ > 0 ? Phase::execute : phase_; }
  UsageWindow cut_window(Time end);
  std::int64_t take_back(std::int64_t us);

  Time window_start_;
  Time time_;  // up to which all is counted
  Duration longest_window_;
  Phase phase_ = Phase::boot;
  std::array<std::int64_t, kPhaseCount> us_{};            // in this window, by phase
  std::array<std::int64_t, kPhaseCount> egress_bytes_{};  // in this window, by phase
  std::int64_t egress_counted_ = 0;                       // in all windows of the life
  bool ran_since_egress_ = false;
  std::uint32_t in_flight_ = 0;
  std::int64_t share_clock_ = 0;
  std::int64_t share_carry_ = 0;
};

}  // namespace ember
