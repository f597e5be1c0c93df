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
// `leased`: a person has it, and no container ran there; `kept`: volumes store it.
enum class Phase : std::uint8_t { boot, load, execute, idle, leased, kept };

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
  // Of a share of one device: how much of its memory, and how much it has. Zero: whole devices.
  std::int64_t share_bytes = 0;
  std::int64_t device_bytes = 0;
  LeaseId lease = {};  // the holder, where a person has the devices; then there is no container
};

// The device milliseconds that a row of Meter::gpu holds: of a share its part of the device's
// memory, rounded down.
std::int64_t device_ms(const UsageRow& row);

}  // namespace ember
