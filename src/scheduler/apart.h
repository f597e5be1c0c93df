// The policy for pools whose containers are to lie apart: a node that holds fewer containers of the
// pool goes before all others, and of its devices those that hold none of them. Where there is no
// such room they lie together.
#pragma once

#include <cstdint>
#include <span>

#include "model/ids.h"
#include "scheduler/fleet.h"

namespace ember {

// Where a pool's containers are that are not gone. Empty for pools whose containers may lie
// anywhere.
struct Peer {
  ContainerId container;
  NodeId node;
};
using Peers = std::span<const Peer>;

// How many of them the node holds.
std::int64_t peers_on(const FleetNode& node, Peers peers);
// How many of them hold some of the device.
std::int64_t peers_on(const FleetNode& node, DeviceId device, Peers peers);

}  // namespace ember
