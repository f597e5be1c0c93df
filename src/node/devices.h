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

// Leases of devices to containers; the node's own word on what is free.
class DeviceLeases {
 public:
  explicit DeviceLeases(const std::vector<Device>& devices);

  // All of them or none: not_found for a device this node does not have, conflict for one held.
  Result<> take(ContainerId container, const std::vector<DeviceId>& devices);
  void give_back(ContainerId container);
  // A zero id: nobody.
  ContainerId holder(DeviceId device) const;

 private:
  std::map<DeviceId, ContainerId> holder_;  // a zero id: free
};

}  // namespace ember
