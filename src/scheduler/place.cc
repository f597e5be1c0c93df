#include "scheduler/place.h"

#include <algorithm>

#include "scheduler/best_fit.h"
#include "scheduler/filter.h"
#include "scheduler/fullest_first.h"

namespace ember {
namespace {

bool contains(std::span<const NodeId> nodes, NodeId node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

// The least score of all nodes that have one.
template <class ScoreOf>
std::optional<Score> best(const Fleet& fleet, const Tenant& tenant, std::span<const NodeId> avoid,
                          ScoreOf score_of) {
  std::optional<Score> least;
  for (const FleetNode& node : fleet.nodes()) {
    if (!has_room(node, tenant.resources) || contains(avoid, node.id)) continue;
    std::optional<Score> score = score_of(node);
    if (score) score->peers_on_node = peers_on(node, tenant.apart_from);
    if (score && (!least || *score < *least)) least = score;
  }
  return least;
}

}  // namespace

std::optional<Placement> place(const Fleet& fleet, const Tenant& tenant,
                               std::span<const NodeId> avoid) {
  const GpuDemand& demand = tenant.resources.gpu;
  if (demand.empty()) {
    const auto score = best(fleet, tenant, avoid, [](const FleetNode& node) {
      return std::optional(Score{.left = node.free_devices(), .node = node.id, .device = {}});
    });
    return score ? std::optional(Placement{score->node, {}}) : std::nullopt;
  }
  for (const GpuChoice& choice : demand.choices) {
    if (demand.is_share()) {
      const WantedShare share{choice, demand.share_bytes, tenant.workspace, tenant.apart_from};
      const auto score = best(fleet, tenant, avoid, [&](const FleetNode& node) {
        return fullest_first_score(node, share);
      });
      if (score) return Placement{score->node, {score->device}};
      continue;
    }
    const WholeDevices whole{choice, demand.least_vram_bytes};
    const auto score = best(fleet, tenant, avoid,
                            [&](const FleetNode& node) { return best_fit_score(node, whole); });
    if (score) return Placement{score->node, pick_devices(*fleet.find(score->node), whole)};
  }
  return std::nullopt;
}

}  // namespace ember
