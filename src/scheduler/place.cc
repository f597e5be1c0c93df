#include "scheduler/place.h"

#include <algorithm>

#include "scheduler/best_fit.h"
#include "scheduler/filter.h"

namespace ember {
namespace {

bool contains(std::span<const NodeId> nodes, NodeId node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

const FleetNode* best_node(const Fleet& fleet, const Resources& resources, const GpuChoice* choice,
                           std::span<const NodeId> avoid) {
  const FleetNode* best = nullptr;
  std::optional<Score> least;
  for (const FleetNode& node : fleet.nodes()) {
    if (!has_room(node, resources) || contains(avoid, node.id)) continue;
    const std::optional<Score> score = best_fit_score(node, choice);
    if (!score || (least && *least < *score)) continue;
    least = score;
    best = &node;
  }
  return best;
}

}  // namespace

std::optional<Placement> place(const Fleet& fleet, const Resources& resources,
                               std::span<const NodeId> avoid) {
  if (resources.gpu.empty()) {
    const FleetNode* node = best_node(fleet, resources, nullptr, avoid);
    return node ? std::optional(Placement{node->id, {}}) : std::nullopt;
  }
  for (const GpuChoice& choice : resources.gpu.choices) {
    if (const FleetNode* node = best_node(fleet, resources, &choice, avoid)) {
      return Placement{node->id, pick_devices(*node, choice)};
    }
  }
  return std::nullopt;
}

}  // namespace ember
