// Usage rows: who held what, how much of it, when, and in which phase of its life.
//
// A container's life is cut into windows that tile it. Each window gives, for every meter of the
// container and every phase with time in it, one row; over the phases of one window and meter the
// quantities add up to the window's length exactly. So each millisecond is billed once. Egress has
// bytes for its quantity; over all windows they add up to what the node saw leave the container. A
// window without length holds egress alone: word of it came after the last millisecond was billed.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"
#include "model/ids.h"

namespace ember {

enum class Meter : std::uint8_t { gpu, cpu, memory, egress, disk };
// What containers are in comes first; `kept` is what volumes store.
enum class Phase : std::uint8_t { boot, load, execute, idle, kept };

std::string_view meter_name(Meter meter);
std::string_view phase_name(Phase phase);

struct UsageRow {
  ContainerId container;  // the holder; for Meter::disk the value of a volume's id
  PoolId pool;
  Meter meter = Meter::cpu;
  Phase phase = Phase::boot;
  Time window_start;          // whole milliseconds
  Time window_end;            // whole milliseconds
  std::int64_t quantity = 0;  // milliseconds of this phase in the window (bytes for egress)
  std::int64_t units = 0;     // devices, milli-cores or bytes held through that; 1 for egress
  std::string gpu_type;       // for Meter::gpu: which type; else empty
};

}  // namespace ember
