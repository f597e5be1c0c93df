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
#include "model/workspace.h"

namespace ember {

struct Reservation {
  std::int64_t cpu_millicores = 0;
  std::int64_t memory_bytes = 0;
  std::vector<DeviceId> devices;
  std::int64_t share_bytes = 0;  // of the one device's memory; zero: the devices are held whole
  WorkspaceId workspace = kDefaultWorkspace;
};

// A container's part in a device.
struct DeviceHold {
  DeviceId device;
  ContainerId container;
  std::int64_t share_bytes = 0;  // zero: all of it
  WorkspaceId workspace = kDefaultWorkspace;
  friend bool operator==(const DeviceHold&, const DeviceHold&) = default;
};

struct FleetNode {
  NodeId id;
  NodeCapacity capacity;
  std::int64_t cpu_millicores_free = 0;  // below zero where a node shrank under its containers
  std::int64_t memory_bytes_free = 0;
  std::map<ContainerId, Reservation> reservations;
  std::vector<DeviceHold> holds;                     // by device, then container
  std::vector<std::pair<DeviceId, LeaseId>> leases;  // devices that people have, by device

  std::span<const DeviceHold> holds_of(DeviceId device) const;
  bool is_held(DeviceId device) const { return !holds_of(device).empty(); }
  bool is_leased(DeviceId device) const;
  // How much of the device a share of that workspace may be: all of it while nobody holds any; none
  // of one that is held whole, by another workspace, or leased.
  std::int64_t share_room(const Device& device, WorkspaceId workspace) const;
  // Whether a container of that workspace may hold it as told, beside those that do.
  bool may_hold(DeviceId device, std::int64_t share_bytes, WorkspaceId workspace) const;
  bool has_cordoned(const std::vector<DeviceId>& devices) const;
  // Available, and nobody holds or leases any of it.
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

  // A device that others hold, and that cannot be held beside them, stays theirs.
  void reserve(NodeId node, ContainerId container, Reservation reservation);
  void release(NodeId node, ContainerId container);

  // Devices go to a person, and come back. Nothing happens on an unknown node.
  void lease(NodeId node, LeaseId lease, const std::vector<DeviceId>& devices);
  void end_lease(NodeId node, LeaseId lease);

  std::span<const FleetNode> nodes() const { return nodes_; }  // by id
  const FleetNode* find(NodeId node) const;

 private:
  FleetNode* find_mutable(NodeId node);
  std::vector<FleetNode> nodes_;
};

}  // namespace ember
