// What the node said of itself when it last connected.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "node/node_client.h"

namespace ember {

class NodeFleet {
 public:
  void connected(NodeHello hello);
  void set_devices(std::vector<Device> devices, std::vector<std::string> missing) {
    hello_.capacity.devices = std::move(devices);
    hello_.missing = std::move(missing);
  }
  void disconnected() { connected_ = false; }

  bool is_connected() const { return connected_; }
  bool has_met() const { return static_cast<bool>(hello_.node); }
  const NodeHello& hello() const { return hello_; }
  const Device* find_device(DeviceId id) const;
  bool has_simulated_gpus() const;
  // "2 x L4 (simulated), 1 x H100", or "no GPU": for messages.
  std::string gpus_text() const;
  // "L4 has 24.2 GB, H100 has 85.5 GB" as the devices say, "none has memory" without any.
  std::string vram_text() const;

 private:
  NodeHello hello_;
  bool connected_ = false;
};

}  // namespace ember
