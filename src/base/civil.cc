#include "base/civil.h"

namespace ember {
namespace {

constexpr std::int64_t kDaysPerEra = 146'097;    // 400 years
constexpr std::int64_t kEpochFromEra = 719'468;  // 0000-03-01 to 1970-01-01
constexpr std::int64_t kEpochWeekday = 4;        // a Thursday

}  // namespace

// Both conversions: Hinnant, "chrono-compatible low-level date algorithms". Years begin in March,
// so that the leap day comes last.
std::int64_t days_of(CivilDay date) {
  const std::int64_t year = date.year - (date.month <= 2 ? 1 : 0);
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t month_from_march = (date.month + 9) % 12;
  const std::int64_t day_of_year = (153 * month_from_march + 2) / 5 + date.day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * kDaysPerEra + day_of_era - kEpochFromEra;
}

CivilDay civil_of(std::int64_t days) {
  days += kEpochFromEra;
  const std::int64_t era = (days >= 0 ? days : days - (kDaysPerEra - 1)) / kDaysPerEra;
  const std::int64_t day_of_era = days - era * kDaysPerEra;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const std::int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month,
          day_of_year - (153 * month_from_march + 2) / 5 + 1};
}

std::int64_t weekday_of(std::int64_t days) {
  const std::int64_t weekday = (days + kEpochWeekday) % 7;
  return weekday < 0 ? weekday + 7 : weekday;
}

}  // namespace ember
