#include "scheduler/fleet.h"

#include <algorithm>

namespace ember {
namespace {

bool id_before(const FleetNode& node, NodeId id) { return node.id < id; }

bool lease_before(const std::pair<DeviceId, LeaseId>& lease, DeviceId device) {
  return lease.first < device;
}

// What is free is always what there is less what is reserved, so no update can drift.
void recount(FleetNode& node) {
  node.cpu_millicores_free = node.capacity.cpu_millicores;
  node.memory_bytes_free = node.capacity.memory_bytes;
  for (const auto& [container, reservation] : node.reservations) {
    node.cpu_millicores_free -= reservation.cpu_millicores;
    node.memory_bytes_free -= reservation.memory_bytes;
  }
}

}  // namespace

std::span<const DeviceHold> FleetNode::holds_of(DeviceId device) const {
  const auto found = std::ranges::equal_range(holds, device, {}, &DeviceHold::device);
  return {found.begin(), found.end()};
}

bool FleetNode::is_leased(DeviceId device) const {
  const auto at = std::lower_bound(leases.begin(), leases.end(), device, lease_before);
  return at != leases.end() && at->first == device;
}

std::int64_t FleetNode::share_room(const Device& device, WorkspaceId workspace) const {
  if (device.state != DeviceState::available || is_leased(device.id)) return 0;
  std::int64_t room = device.vram_bytes;
  for (const DeviceHold& hold : holds_of(device.id)) {
    if (hold.share_bytes == 0 || hold.workspace != workspace) return 0;
    room -= hold.share_bytes;
  }
  return room;
}

// A device that the node has not told of has what its node says; that one refuses too much.
bool FleetNode::may_hold(DeviceId wanted, std::int64_t share_bytes, WorkspaceId workspace) const {
  const auto holders = holds_of(wanted);
  if (share_bytes == 0 || holders.empty()) return holders.empty();
  std::int64_t shared = share_bytes;
  for (const DeviceHold& hold : holders) {
    if (hold.share_bytes == 0 || hold.workspace != workspace) return false;
    shared += hold.share_bytes;
  }
  const auto device = std::ranges::find(capacity.devices, wanted, &Device::id);
  return device == capacity.devices.end() || shared <= device->vram_bytes;
}

bool FleetNode::has_cordoned(const std::vector<DeviceId>& devices) const {
  return std::any_of(capacity.devices.begin(), capacity.devices.end(), [&](const Device& device) {
    return device.state == DeviceState::cordoned &&
           std::find(devices.begin(), devices.end(), device.id) != devices.end();
  });
}

bool FleetNode::is_free(const Device& device) const {
  return device.state == DeviceState::available && !is_held(device.id) && !is_leased(device.id);
}

std::uint32_t FleetNode::free_devices(std::string_view type) const {
  std::uint32_t count = 0;
  for (const Device& device : capacity.devices) {
    if (device.type == type && is_free(device)) ++count;
  }
  return count;
}

std::uint32_t FleetNode::free_devices() const {
  std::uint32_t count = 0;
  for (const Device& device : capacity.devices) {
    if (is_free(device)) ++count;
  }
  return count;
}

FleetNode* Fleet::find_mutable(NodeId node) {
  const auto at = std::lower_bound(nodes_.begin(), nodes_.end(), node, id_before);
  return at != nodes_.end() && at->id == node ? &*at : nullptr;
}

const FleetNode* Fleet::find(NodeId node) const {
  return const_cast<Fleet*>(this)->find_mutable(node);
}

void Fleet::join(NodeId id, NodeCapacity capacity) {
  std::sort(capacity.devices.begin(), capacity.devices.end(),
            [](const Device& a, const Device& b) { return a.id < b.id; });
  auto at = std::lower_bound(nodes_.begin(), nodes_.end(), id, id_before);
  if (at == nodes_.end() || at->id != id) {
    at = nodes_.emplace(at);
    at->id = id;
  }
  at->capacity = std::move(capacity);
  recount(*at);
}

void Fleet::lose(NodeId id) {
  if (FleetNode* node = find_mutable(id)) nodes_.erase(nodes_.begin() + (node - nodes_.data()));
}

void Fleet::reserve(NodeId id, ContainerId container, Reservation reservation) {
  FleetNode* node = find_mutable(id);
  EMBER_ASSERT(node && !node->reservations.contains(container));
  for (const DeviceId device : reservation.devices) {
    if (!node->may_hold(device, reservation.share_bytes, reservation.workspace)) continue;
    const DeviceHold hold{device, container, reservation.share_bytes, reservation.workspace};
    const auto key = [](const DeviceHold& one) { return std::pair(one.device, one.container); };
    node->holds.insert(std::ranges::upper_bound(node->holds, key(hold), {}, key), hold);
  }
  node->cpu_millicores_free -= reservation.cpu_millicores;
  node->memory_bytes_free -= reservation.memory_bytes;
  node->reservations.emplace(container, std::move(reservation));
}

void Fleet::release(NodeId id, ContainerId container) {
  FleetNode* node = find_mutable(id);
  if (!node) return;
  const auto at = node->reservations.find(container);
  if (at == node->reservations.end()) return;
  node->cpu_millicores_free += at->second.cpu_millicores;
  node->memory_bytes_free += at->second.memory_bytes;
  std::erase_if(node->holds, [&](const DeviceHold& hold) { return hold.container == container; });
  node->reservations.erase(at);
}

void Fleet::lease(NodeId id, LeaseId lease, const std::vector<DeviceId>& devices) {
  FleetNode* node = find_mutable(id);
  if (!node) return;
  for (const DeviceId device : devices) {
    if (node->is_leased(device)) continue;
    const auto at =
        std::lower_bound(node->leases.begin(), node->leases.end(), device, lease_before);
    node->leases.insert(at, {device, lease});
  }
}

void Fleet::end_lease(NodeId id, LeaseId lease) {
  FleetNode* node = find_mutable(id);
  if (node) std::erase_if(node->leases, [&](const auto& one) { return one.second == lease; });
}

}  // namespace ember
