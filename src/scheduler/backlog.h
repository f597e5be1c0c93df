// The pools that want a container the fleet has no room for, oldest want first. They are grouped by
// what they ask for: when room appears, one failed attempt answers for the whole group.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/slab.h"
#include "model/function.h"
#include "model/workspace.h"

namespace ember {

class Backlog {
 public:
  // CPU, memory, GPU demand, whose: what one workspace shares is no room for another.
  using Shape = std::tuple<std::int64_t, std::int64_t, std::string, WorkspaceId>;
  struct Want {
    std::uint64_t order = 0;
    Slot pool = kNoSlot;
    const Shape* shape = nullptr;  // valid while anything of that shape waits
  };

  static Shape shape_of(const Resources& resources, WorkspaceId workspace = kDefaultWorkspace);

  // Puts the pool at the end of the line; returns the order to remove it by.
  std::uint64_t add(const Shape& shape, Slot pool);
  void remove(const Shape& shape, std::uint64_t order, Slot pool);
  bool empty() const { return groups_.empty(); }

  // The longest waiting pool whose shape is not among `full`; kNoSlot in `pool` if there is none.
  Want oldest(const std::vector<Shape>& full) const;

 private:
  std::map<Shape, std::set<std::pair<std::uint64_t, Slot>>> groups_;
  std::uint64_t next_order_ = 1;
};

}  // namespace ember
