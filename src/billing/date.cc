#include "billing/date.h"

#include <charconv>

namespace ember {
namespace {

constexpr std::int64_t kUsPerDay = 86'400ll * 1'000'000;
constexpr std::int64_t kDaysPerEra = 146'097;    // 400 years
constexpr std::int64_t kEpochFromEra = 719'468;  // 0000-03-01 to 1970-01-01

struct Civil {
  std::int64_t year = 0, month = 0, day = 0;

  friend constexpr bool operator==(Civil, Civil) = default;
};

// Both conversions: Hinnant, "chrono-compatible low-level date algorithms". Years begin in March,
// so that the leap day comes last.
std::int64_t days_of(Civil date) {
  const std::int64_t year = date.year - (date.month <= 2 ? 1 : 0);
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t month_from_march = (date.month + 9) % 12;
  const std::int64_t day_of_year = (153 * month_from_march + 2) / 5 + date.day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * kDaysPerEra + day_of_era - kEpochFromEra;
}

Civil civil_of(std::int64_t days) {
  days += kEpochFromEra;
  const std::int64_t era = (days >= 0 ? days : days - (kDaysPerEra - 1)) / kDaysPerEra;
  const std::int64_t day_of_era = days - era * kDaysPerEra;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const std::int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  return {.year = year_of_era + era * 400 + (month <= 2 ? 1 : 0),
          .month = month,
          .day = day_of_year - (153 * month_from_march + 2) / 5 + 1};
}

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
  const Civil civil = civil_of(days);
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
  const Civil civil{.year = *year, .month = *month, .day = *day};
  const std::int64_t days = days_of(civil);
  if (civil_of(days) != civil) return std::nullopt;  // such as the 30th of February
  return Date{days};
}

}  // namespace ember
