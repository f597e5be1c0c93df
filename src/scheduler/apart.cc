#include "scheduler/apart.h"

#include <algorithm>

namespace ember {

std::int64_t peers_on(const FleetNode& node, Peers peers) {
  return std::ranges::count(peers, node.id, &Peer::node);
}

std::int64_t peers_on(const FleetNode& node, DeviceId device, Peers peers) {
  const auto holds = node.holds_of(device);
  return std::ranges::count_if(peers, [&](const Peer& peer) {
    return std::ranges::count(holds, peer.container, &DeviceHold::container) > 0;
  });
}

}  // namespace ember
