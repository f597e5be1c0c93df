// How many containers a pool should have, from what runs and waits in it.
#pragma once

#include <cstdint>

#include "model/function.h"

namespace ember {

enum class PoolMode : std::uint8_t {
  serving,  // takes new inputs: floor and buffer hold
  ending,   // retired or drained: only what it still has to do counts
};

struct PoolLoad {
  std::uint32_t in_flight = 0;  // slots taken
  std::uint32_t waiting = 0;    // slots that what waits would take
  std::uint32_t busy = 0;       // containers with inputs
};

enum class DesiredBy : std::uint8_t { demand, min_containers, buffer_containers, max_containers };

struct Desired {
  std::uint32_t containers = 0;
  std::uint32_t demand = 0;  // containers for the load alone, within the maximum
  DesiredBy by = DesiredBy::demand;
};

// The load over the target, at least min_containers; while anything runs or waits,
// buffer_containers more; at most max_containers.
Desired desired_containers(const Scaling& scaling, PoolMode mode, const PoolLoad& load);

}  // namespace ember
