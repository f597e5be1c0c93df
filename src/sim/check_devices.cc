// No device is held twice, but for shares of one workspace that fit its memory together; what a
// container gets is what its function asked for, and available; nothing stays on a cordoned device;
// no node is promised more than it has.
#include <algorithm>

#include "sim/checker.h"

namespace ember {
namespace {

bool meets(const GpuDemand& demand, const NodeCapacity& node, const std::vector<DeviceId>& given) {
  const auto fits = [&](const GpuChoice& choice) {
    return given.size() == choice.count &&
           std::all_of(given.begin(), given.end(), [&](DeviceId id) {
             return std::any_of(node.devices.begin(), node.devices.end(),
                                [&](const Device& device) {
                                  return device.id == id && device.type == choice.type &&
                                         device.state == DeviceState::available &&
                                         device.vram_bytes >= demand.least_vram_bytes;
                                });
           });
  };
  if (demand.empty()) return given.empty();
  return std::any_of(demand.choices.begin(), demand.choices.end(), fits);
}

class CheckDevices : public Checker {
 public:
  void on_action(const Step& step, const Action& action) override {
    const auto* start = std::get_if<StartContainer>(&action);
    if (!start) return;
    const auto node = step.facts.nodes().find(start->node);
    const PoolFact* pool = step.facts.pool(start->pool);
    if (node == step.facts.nodes().end() || !pool) {
      step.findings.add("containers start on known nodes for known pools", start->container.text());
      return;
    }
    const Resources& wanted = pool->spec.settings.resources;
    if (!meets(wanted.gpu, node->second, start->devices)) {
      step.findings.add("a container gets available devices that its function asked for",
                        start->container.text() + " wants " + wanted.gpu.text());
    }
    check_others(step, *start, node->second, wanted);
  }

  void after_step(const Step& step, const Engine&) override {
    const auto* told = std::get_if<NodeJoined>(&step.event);
    if (!told) return;
    for (const auto& [id, fact] : step.facts.containers()) {
      if (fact.node != told->node || fact.stopping || !has_cordoned(*told, fact.devices)) continue;
      step.findings.add("nothing stays on a cordoned device", id.text());
    }
  }

 private:
  static bool has_cordoned(const NodeJoined& told, const std::vector<DeviceId>& devices) {
    return std::any_of(devices.begin(), devices.end(), [&](DeviceId id) {
      return std::any_of(told.capacity.devices.begin(), told.capacity.devices.end(),
                         [&](const Device& device) {
                           return device.id == id && device.state == DeviceState::cordoned;
                         });
    });
  }

  static std::int64_t vram_of(const NodeCapacity& node, DeviceId id) {
    const auto found = std::ranges::find(node.devices, id, &Device::id);
    return found == node.devices.end() ? 0 : found->vram_bytes;
  }

  static void check_others(const Step& step, const StartContainer& start, const NodeCapacity& node,
                           const Resources& wanted) {
    std::int64_t cpu = wanted.cpu_millicores;
    std::int64_t memory = wanted.memory_bytes;
    std::int64_t shared = wanted.gpu.share_bytes;
    const WorkspaceId workspace = step.facts.pool(start.pool)->workspace;
    for (const auto& [id, other] : step.facts.containers()) {
      if (other.node != start.node) continue;
      const Resources& held = step.facts.pool(other.pool)->spec.settings.resources;
      cpu += held.cpu_millicores;
      memory += held.memory_bytes;
      const auto& devices = other.devices;
      if (std::find_first_of(devices.begin(), devices.end(), start.devices.begin(),
                             start.devices.end()) == devices.end()) {
        continue;
      }
      shared += held.gpu.share_bytes;
      const bool both_share = wanted.gpu.is_share() && held.gpu.is_share();
      if (both_share && step.facts.pool(other.pool)->workspace == workspace) continue;
      step.findings.add("no device is held twice",
                        start.container.text() + " shares a device with " + id.text());
    }
    if (wanted.gpu.is_share() && shared > vram_of(node, start.devices.front())) {
      step.findings.add(
          "shares fit their device together",
          start.container.text() + " does not fit on " + start.devices.front().text());
    }
    if (cpu > node.cpu_millicores || memory > node.memory_bytes) {
      step.findings.add("no node is promised twice over",
                        start.container.text() + " does not fit on " + start.node.text());
    }
  }
};

}  // namespace

std::unique_ptr<Checker> check_devices() { return std::make_unique<CheckDevices>(); }

}  // namespace ember
