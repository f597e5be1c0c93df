#include "scheduler/backlog.h"

#include <algorithm>

namespace ember {

Backlog::Shape Backlog::shape_of(const Resources& resources, WorkspaceId workspace) {
  const GpuDemand& gpu = resources.gpu;
  const std::string bytes = std::to_string(gpu.share_bytes + gpu.least_vram_bytes);
  return {resources.cpu_millicores, resources.memory_bytes, gpu.text() + " " + bytes, workspace};
}

std::uint64_t Backlog::add(const Shape& shape, Slot pool) {
  const std::uint64_t order = next_order_++;
  groups_[shape].emplace(order, pool);
  return order;
}

void Backlog::remove(const Shape& shape, std::uint64_t order, Slot pool) {
  const auto group = groups_.find(shape);
  if (group == groups_.end()) return;
  group->second.erase({order, pool});
  if (group->second.empty()) groups_.erase(group);
}

Backlog::Want Backlog::oldest(const std::vector<Shape>& full) const {
  Want want;
  for (const auto& [shape, pools] : groups_) {
    const auto& [order, pool] = *pools.begin();
    if (want.pool != kNoSlot && order > want.order) continue;
    if (std::find(full.begin(), full.end(), shape) != full.end()) continue;
    want = {order, pool, &shape};
  }
  return want;
}

}  // namespace ember
