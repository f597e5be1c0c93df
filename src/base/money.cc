#include "base/money.h"

#include <cstdlib>

#include "base/assert.h"

namespace ember {
namespace {

constexpr std::int64_t kNanoPerUnit = 1'000'000'000;
constexpr std::int64_t kMsPerHour = 3'600'000;

}  // namespace

std::string Money::decimal() const {
  const bool negative = nano_usd < 0;
  const auto magnitude =
      negative ? 0 - static_cast<std::uint64_t>(nano_usd) : static_cast<std::uint64_t>(nano_usd);
  std::string fraction = std::to_string(magnitude % kNanoPerUnit);
  fraction.insert(0, 9 - fraction.size(), '0');
  return (negative ? "-" : "") + std::to_string(magnitude / kNanoPerUnit) + "." + fraction;
}

std::int64_t divide_half_even(Int128 numerator, Int128 denominator) {
  EMBER_ASSERT(denominator > 0);
  Int128 quotient = numerator / denominator;
  Int128 remainder = numerator % denominator;
  const int sign = remainder < 0 ? -1 : 1;
  const Int128 twice = remainder * sign * 2;
  if (twice > denominator || (twice == denominator && quotient % 2 != 0)) quotient += sign;
  return static_cast<std::int64_t>(quotient);
}

Money PricePerHour::over_ms(std::int64_t milliseconds, std::int64_t units_numerator,
                            std::int64_t units_denominator) const {
  // Callers keep nano_usd * ms * units below 2^127: 10^14 $/h-nanos * 10^11 ms * 10^12 bytes.
  const Int128 product = static_cast<Int128>(nano_usd) * milliseconds * units_numerator;
  return {divide_half_even(product, static_cast<Int128>(kMsPerHour) * units_denominator)};
}

}  // namespace ember
