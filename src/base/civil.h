// Days of the Gregorian calendar as year, month and day. Days are counted from 1970-01-01.
#pragma once

#include <cstdint>

namespace ember {

struct CivilDay {
  std::int64_t year = 0, month = 0, day = 0;

  friend constexpr bool operator==(CivilDay, CivilDay) = default;
};

std::int64_t days_of(CivilDay date);
CivilDay civil_of(std::int64_t days);

// Of that day; 0 is Sunday.
std::int64_t weekday_of(std::int64_t days);

}  // namespace ember
