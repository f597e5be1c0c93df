// Money in whole nano-dollars; never a float. A time price is nano-dollars per hour, usage is whole
// milliseconds (of one unit: a GPU, a milli-core, a byte), and their product is rounded once, half
// to even, from a 128-bit intermediate.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "base/int128.h"

namespace ember {

struct Money {
  std::int64_t nano_usd = 0;

  friend constexpr auto operator<=>(Money, Money) = default;
  friend constexpr Money operator+(Money a, Money b) { return {a.nano_usd + b.nano_usd}; }
  friend constexpr Money operator-(Money a, Money b) { return {a.nano_usd - b.nano_usd}; }
  constexpr Money& operator+=(Money b) {
    nano_usd += b.nano_usd;
    return *this;
  }

  // "12.345678901", always nine decimals: exact.
  std::string decimal() const;
};

// numerator / denominator rounded half to even. Denominator must be positive.
std::int64_t divide_half_even(Int128 numerator, Int128 denominator);

struct PricePerHour {
  std::int64_t nano_usd = 0;

  friend constexpr auto operator<=>(PricePerHour, PricePerHour) = default;

  // The price of `quantity` units (numerator over denominator) held for `milliseconds`.
  Money over_ms(std::int64_t milliseconds, std::int64_t units_numerator,
                std::int64_t units_denominator) const;
};

}  // namespace ember
