#include "sim/options.h"

namespace ember {

std::span<const FaultClass> fault_classes() {
  static constexpr FaultClass kClasses[] = {
      {"late", &FaultRates::late},
      {"lost", &FaultRates::lost},
      {"doubled", &FaultRates::doubled},
      {"reordered", &FaultRates::reordered},
      {"refused", &FaultRates::refused},
      {"half_done", &FaultRates::half_done},
      {"misbehaved", &FaultRates::misbehaved},
      {"hung_exit", &FaultRates::hung_exit},
      {"timer_late", &FaultRates::timer_late},
      {"node_outage", &FaultRates::node_outage},
      {"device_cordon", &FaultRates::device_cordon},
      {"driver_crash", &FaultRates::driver_crash},
      {"store_lost", &FaultRates::store_lost},
  };
  return kClasses;
}

}  // namespace ember
