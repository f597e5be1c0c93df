#include "control/tariff.h"

#include "base/int128.h"
#include "billing/price_book.h"

namespace ember {
namespace {

constexpr std::int64_t kUsPerHour = 3'600'000'000;

// Nano-dollars per hour, times 2^30 so that shares of a GiB lose nothing that matters.
constexpr int kFractionBits = 30;
Int128 per_hour(const Rate& rate, std::int64_t units) {
  return (static_cast<Int128>(rate.price.nano_usd) * units << kFractionBits) / rate.units;
}

}  // namespace

const Rate& Tariff::rate(Meter meter) const {
  switch (meter) {
    case Meter::gpu:
      return gpu;
    case Meter::cpu:
      return cpu;
    case Meter::memory:
      return memory;
    case Meter::disk:  // containers hold none
    case Meter::egress:
      break;
  }
  return egress;
}

Money Tariff::amount(const UsageRow& row) const { return amount_of(row, rate(row.meter).price); }

Money Tariff::cost(Duration duration) const {
  const Int128 hourly = per_hour(gpu, share_bytes > 0 ? share_bytes : gpu_count) +
                        per_hour(cpu, cpu_millicores) + per_hour(memory, memory_bytes);
  return {divide_half_even(hourly * duration.us, static_cast<Int128>(kUsPerHour) << kFractionBits)};
}

std::string Tariff::gpu_text() const {
  if (gpu_type.empty()) return {};
  std::string text = (share_bytes > 0 ? vram_text(share_bytes) + " of " : "") + gpu_type;
  if (gpu_count != 1) text += ":" + std::to_string(gpu_count);
  return simulated ? text + " (simulated)" : text;
}

}  // namespace ember
