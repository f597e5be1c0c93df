#include "billing/date.h"

#include <charconv>

#include "base/civil.h"

namespace ember {
namespace {

constexpr std::int64_t kUsPerDay = 86'400ll * 1'000'000;

std::string padded(std::int64_t number, std::size_t width) {
  std::string digits = std::to_string(number);
  if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
  return digits;
}

// A field of digits alone; nothing otherwise.
std::optional<std::int64_t> digits(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

}  // namespace

std::string Date::text() const {
  const CivilDay civil = civil_of(days);
  return padded(civil.year, 4) + "-" + padded(civil.month, 2) + "-" + padded(civil.day, 2);
}

Date date_of(Time time) {
  const std::int64_t days = time.us / kUsPerDay;
  return {time.us < 0 && time.us % kUsPerDay != 0 ? days - 1 : days};
}

std::optional<Date> parse_date(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const auto year = digits(text.substr(0, 4));
  const auto month = digits(text.substr(5, 2));
  const auto day = digits(text.substr(8, 2));
  if (!year || !month || !day || *month < 1 || *month > 12) return std::nullopt;
  const CivilDay civil{.year = *year, .month = *month, .day = *day};
  const std::int64_t days = days_of(civil);
  if (civil_of(days) != civil) return std::nullopt;  // such as the 30th of February
  return Date{days};
}

}  // namespace ember
