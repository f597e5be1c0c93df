// Who holds more of a shared device's memory than its share. The driver reports what each process
// has, its context and loaded code included: those are part of the share. One look may fall into a
// moment, as when a library tries how much it can have; so two in a row decide.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "model/ids.h"

namespace ember {

// The driver counts pages of 2 MiB, and keeps a few for itself in the name of a process: sixteen of
// them are forgiven, so that one who fills its share exactly is left alone.
inline constexpr std::int64_t kShareToleranceBytes = 16ll * (2 << 20);

struct ShareUse {
  ContainerId container;
  std::int64_t share_bytes = 0;
  std::int64_t used_bytes = 0;
};

class ShareWatch {
 public:
  // One look at all who share the device; those to end now.
  std::vector<ShareUse> look(DeviceId device, const std::vector<ShareUse>& uses);

 private:
  std::map<DeviceId, std::vector<ContainerId>> over_;  // at the last look
};

}  // namespace ember
