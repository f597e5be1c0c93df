// How well a node suits, whatever the policy: least is best.
#pragma once

#include <compare>
#include <cstdint>

#include "model/ids.h"

namespace ember {

struct Score {
  std::int64_t peers_on_device = 0;  // containers of the same pool, of one that lies apart
  std::int64_t peers_on_node = 0;
  bool opens_device = false;  // a share: of a device that nobody shares yet
  std::int64_t left = 0;      // devices, or bytes of the shared one, that are left over
  NodeId node;
  DeviceId device;  // of a share
  friend auto operator<=>(const Score&, const Score&) = default;
};

}  // namespace ember
