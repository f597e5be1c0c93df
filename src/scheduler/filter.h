// Which nodes can hold a container at all.
#pragma once

#include "model/function.h"
#include "scheduler/fleet.h"

namespace ember {

// CPU and memory only; devices are looked at for each choice of the demand.
bool has_room(const FleetNode& node, const Resources& resources);

// Whether such a device, by its type and memory, could serve the demand.
bool accepts(const GpuDemand& demand, const Device& device);

// Whether the node could hold one such container if it were empty.
bool could_hold(const FleetNode& node, const Resources& resources);
bool could_ever_place(const Fleet& fleet, const Resources& resources);

}  // namespace ember
