// A day of the Gregorian calendar, in UTC: what prices are dated by.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace ember {

struct Date {
  std::int64_t days = 0;  // from 1970-01-01

  friend constexpr auto operator<=>(Date, Date) = default;

  std::string text() const;  // "2026-11-25"
};

Date date_of(Time time);
// Reads "2026-11-25" and nothing else; nothing if there is no such day.
std::optional<Date> parse_date(std::string_view text);

}  // namespace ember
