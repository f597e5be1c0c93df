// Simulated devices, declared on the command line, and who holds the devices of this node. Each
// keeps its id over restarts.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/gpu.h"
#include "model/node.h"

namespace ember {

// Reads "L4:2,H100:1". The ids follow from the node and each device's place in the list.
Result<std::vector<Device>> simulated_devices(std::string_view text, NodeId node);

// Which containers hold which devices, whole or in shares; the node's own word on what is free.
class DeviceLeases {
 public:
  explicit DeviceLeases(const std::vector<Device>& devices);

  // All of them or none: not_found for a device this node does not have, conflict for one that is
  // held, resource_exhausted for a share that has no room beside the others. A share of zero bytes:
  // the whole devices.
  Result<> take(ContainerId container, const std::vector<DeviceId>& devices,
                std::int64_t share_bytes = 0);
  void give_back(ContainerId container);

  struct Hold {
    ContainerId container;
    std::int64_t share_bytes = 0;
  };
  // In the order in which they took it.
  const std::vector<Hold>& holds(DeviceId device) const;

 private:
  struct Held {
    std::int64_t vram_bytes = 0;
    std::vector<Hold> holds;
  };
  static Result<> check(DeviceId device, const Held& held, const Hold& wanted);

  std::map<DeviceId, Held> held_;
};

}  // namespace ember
