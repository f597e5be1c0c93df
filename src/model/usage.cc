#include "model/usage.h"

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
    case Phase::kept:
      return "kept";
  }
  return "";
}

}  // namespace ember
