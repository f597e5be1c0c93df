// Points in time and lengths of it, in whole microseconds. A Time counts from the Unix epoch; the
// driver stamps it, so pure code never reads a clock.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace ember {

struct Duration {
  std::int64_t us = 0;

  static constexpr Duration microseconds(std::int64_t n) { return {n}; }
  static constexpr Duration milliseconds(std::int64_t n) { return {n * 1000}; }
  static constexpr Duration seconds(std::int64_t n) { return {n * 1'000'000}; }

  constexpr std::int64_t whole_ms() const { return us / 1000; }
  friend constexpr auto operator<=>(Duration, Duration) = default;
  friend constexpr Duration operator+(Duration a, Duration b) { return {a.us + b.us}; }
  friend constexpr Duration operator-(Duration a, Duration b) { return {a.us - b.us}; }
  friend constexpr Duration operator*(Duration a, std::int64_t n) { return {a.us * n}; }
  constexpr Duration& operator+=(Duration b) {
    us += b.us;
    return *this;
  }
};

struct Time {
  std::int64_t us = 0;

  static constexpr Time from_ms(std::int64_t ms) { return {ms * 1000}; }
  static constexpr Time never() { return {std::numeric_limits<std::int64_t>::max()}; }

  constexpr std::int64_t whole_ms() const { return us / 1000; }
  friend constexpr auto operator<=>(Time, Time) = default;
  friend constexpr Duration operator-(Time a, Time b) { return {a.us - b.us}; }
  friend constexpr Time operator+(Time a, Duration d) { return {a.us + d.us}; }
  friend constexpr Time operator-(Time a, Duration d) { return {a.us - d.us}; }
};

}  // namespace ember
