// Which ready container an input goes to: the most loaded one below the target, so that the others
// can fall idle; if all are at the target, the least loaded one, so that a burst spreads; then by
// id. A container at max_inputs is not in the index.
#pragma once

#include <compare>
#include <cstdint>

#include "model/ids.h"

namespace ember {

struct SlotRank {
  std::uint32_t rank = 0;
  ContainerId container;
  friend auto operator<=>(const SlotRank&, const SlotRank&) = default;
};

struct SlotLoad {
  std::uint32_t inputs = 0;  // in flight on the container
  std::uint32_t target = 1;
};

constexpr SlotRank slot_rank(SlotLoad load, ContainerId container) {
  const bool below_target = load.inputs < load.target;
  return {below_target ? load.target - 1 - load.inputs : load.inputs, container};
}

}  // namespace ember
