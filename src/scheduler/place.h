// Where a new container goes: a plan on a snapshot of the fleet, which changes nothing.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "model/function.h"
#include "scheduler/apart.h"
#include "scheduler/fleet.h"

namespace ember {

// For whom, and what it takes.
struct Tenant {
  const Resources& resources;
  WorkspaceId workspace = kDefaultWorkspace;  // whose shares of a device may lie beside
  Peers apart_from = {};                      // where there is other room
};

struct Placement {
  NodeId node;
  std::vector<DeviceId> devices;
};

// The first choice of the demand that some node can meet now, on the best node for it. Nodes in
// `avoid` are left out. Nothing if there is no room.
std::optional<Placement> place(const Fleet& fleet, const Tenant& tenant,
                               std::span<const NodeId> avoid);

}  // namespace ember
