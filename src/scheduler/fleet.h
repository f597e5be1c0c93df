// What the nodes have and what is promised of it: the view that placements are planned on. The
// node is the authority on its own devices and may refuse; then the reservation is undone.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "model/function.h"
#include "model/ids.h"
#include "model/node.h"

namespace ember {

struct Reservation {
  std::int64_t cpu_millicores = 0;
  std::int64_t memory_bytes = 0;
  std::vector<DeviceId> devices;
};

struct FleetNode {
  NodeId id;
  NodeCapacity capacity;
  std::int64_t cpu_millicores_free = 0;  // below zero where a node shrank under its containers
  std::int64_t memory_bytes_free = 0;
  std::map<ContainerId, Reservation> reservations;
  std::vector<std::pair<DeviceId, ContainerId>> leases;  // devices in use, by device id

  bool leased(DeviceId device) const;
  bool has_cordoned(const std::vector<DeviceId>& devices) const;
  // Available, and nobody holds it.
  bool is_free(const Device& device) const;
  // Devices of that type that are free.
  std::uint32_t free_devices(std::string_view type) const;
  std::uint32_t free_devices() const;
};

class Fleet {
 public:
  // A node comes, or a known one tells its capacity again; its reservations stay.
  void join(NodeId node, NodeCapacity capacity);
  // The node and all that was reserved on it are gone.
  void lose(NodeId node);

  // A device that another container holds stays with that one.
  void reserve(NodeId node, ContainerId container, Reservation reservation);
  void release(NodeId node, ContainerId container);

  std::span<const FleetNode> nodes() const { return nodes_; }  // by id
  const FleetNode* find(NodeId node) const;

 private:
  FleetNode* find_mutable(NodeId node);
  std::vector<FleetNode> nodes_;
};

}  // namespace ember
