// What truly happened to containers on the nodes, whoever heard of it.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/time.h"
#include "model/ids.h"

namespace ember {

enum class LifeEnd : std::uint8_t {
  none,      // it lives
  seen,      // the node saw its end
  vanished,  // the node went down with it: nobody saw the moment
};

struct Life {
  PoolId pool;
  NodeId node;
  std::vector<DeviceId> devices;
  Time started;
  Time ended;
  LifeEnd end = LifeEnd::none;
  std::int64_t egress_bytes = 0;  // that left it, told or not
};

using Witness = std::map<ContainerId, Life>;

}  // namespace ember
