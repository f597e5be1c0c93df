#include "autoscaler/desired.h"

#include <algorithm>

namespace ember {
namespace {

// An ending pool starts containers only for what waits, and keeps none without work.
std::uint32_t needed(const Scaling& scaling, PoolMode mode, const PoolLoad& load) {
  if (mode == PoolMode::ending && load.waiting == 0) return load.busy;
  const std::uint32_t inputs = load.in_flight + load.waiting;
  const std::uint32_t target = scaling.target_inputs;
  const std::uint32_t containers = target == 1 ? inputs : (inputs + target - 1) / target;
  return mode == PoolMode::ending ? std::max(containers, load.busy) : containers;
}

}  // namespace

Desired desired_containers(const Scaling& scaling, PoolMode mode, const PoolLoad& load) {
  const std::uint32_t need = needed(scaling, mode, load);
  const bool active = load.in_flight + load.waiting > 0;
  const bool serving = mode == PoolMode::serving;
  const std::uint32_t buffer = serving && active ? scaling.buffer_containers : 0;
  const std::uint32_t floor = serving ? scaling.min_containers : 0;

  Desired result{need, std::min(need, scaling.max_containers), DesiredBy::demand};
  if (buffer > 0) result = {need + buffer, result.demand, DesiredBy::buffer_containers};
  if (floor > result.containers) result = {floor, result.demand, DesiredBy::min_containers};
  if (result.containers > scaling.max_containers) {
    result = {scaling.max_containers, result.demand, DesiredBy::max_containers};
  }
  return result;
}

}  // namespace ember
