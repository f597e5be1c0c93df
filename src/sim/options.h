// What one simulated run is made of. The seed decides everything else: two runs with equal options
// are equal to the last microsecond.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/time.h"

namespace ember {

// How often each class of fault strikes, per mille of its occasions. Zero switches a class off.
struct FaultRates {
  std::uint32_t late = 15;         // of messages: seconds under way
  std::uint32_t lost = 15;         // of messages: delivered again after a while
  std::uint32_t doubled = 15;      // of messages
  std::uint32_t reordered = 15;    // of messages: overtake those sent before
  std::uint32_t refused = 20;      // of starts: the node says no
  std::uint32_t half_done = 25;    // of starts: begun, then fails to load, hangs or crashes
  std::uint32_t misbehaved = 30;   // of executions: overrun, deaf to cancellation, crash, OOM
  std::uint32_t hung_exit = 30;    // of graceful stops: ends only when killed
  std::uint32_t timer_late = 50;   // of timers: milliseconds late
  std::uint32_t node_outage = 60;  // of seconds: a node is cut off or reboots
  std::uint32_t device_cordon =
      40;                          // of seconds: a device falls sick, is others', or is well again
  std::uint32_t driver_crash = 8;  // of seconds: the driver dies and comes back
  std::uint32_t store_lost = 500;  // of driver crashes: writes under way are lost
};

struct FaultClass {
  std::string_view name;
  std::uint32_t FaultRates::*rate;
};
std::span<const FaultClass> fault_classes();

// Whether the checkers watch the run. Without them it is the same run, and much faster.
enum class Checks : std::uint8_t { off, on };

struct SimOptions {
  std::uint64_t seed = 1;
  Duration safety = Duration::seconds(150);  // length of the phase with faults
  FaultRates faults;
  // Each seed switches about a third of the fault classes off, so that no class hides another.
  bool vary_faults = true;
  Checks checks = Checks::on;
};

}  // namespace ember
