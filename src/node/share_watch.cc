#include "node/share_watch.h"

#include <algorithm>

namespace ember {

std::vector<ShareUse> ShareWatch::look(DeviceId device, const std::vector<ShareUse>& uses) {
  std::vector<ShareUse> offenders;
  std::vector<ContainerId> over;
  const std::vector<ContainerId>& before = over_[device];
  for (const ShareUse& use : uses) {
    if (use.used_bytes <= use.share_bytes + kShareToleranceBytes) continue;
    over.push_back(use.container);
    if (std::ranges::count(before, use.container) > 0) offenders.push_back(use);
  }
  over_[device] = std::move(over);
  return offenders;
}

}  // namespace ember
