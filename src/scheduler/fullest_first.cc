#include "scheduler/fullest_first.h"

namespace ember {

std::optional<Score> fullest_first_score(const FleetNode& node, const WantedShare& wanted) {
  std::optional<Score> best;
  for (const Device& device : node.capacity.devices) {
    if (device.type != wanted.choice.type) continue;
    const std::int64_t left = node.share_room(device, wanted.workspace) - wanted.share_bytes;
    if (left < 0) continue;
    const Score score{.peers_on_device = peers_on(node, device.id, wanted.apart_from),
                      .opens_device = !node.is_held(device.id),
                      .left = left,
                      .node = node.id,
                      .device = device.id};
    if (!best || score < *best) best = score;
  }
  return best;
}

}  // namespace ember
