#include "model/usage.h"

#include "base/int128.h"

namespace ember {

std::string_view meter_name(Meter meter) {
  switch (meter) {
    case Meter::gpu:
      return "gpu";
    case Meter::cpu:
      return "cpu";
    case Meter::memory:
      return "memory";
    case Meter::egress:
      return "egress";
    case Meter::disk:
      return "disk";
  }
  return "";
}

std::string_view phase_name(Phase phase) {
  switch (phase) {
    case Phase::boot:
      return "boot";
    case Phase::load:
      return "load";
    case Phase::execute:
      return "execute";
    case Phase::idle:
      return "idle";
    case Phase::leased:
      return "leased";
    case Phase::kept:
      return "kept";
  }
  return "";
}

std::int64_t device_ms(const UsageRow& row) {
  if (row.device_bytes == 0) return row.quantity * row.units;
  return static_cast<std::int64_t>(static_cast<Int128>(row.quantity) * row.share_bytes /
                                   row.device_bytes);
}

}  // namespace ember
