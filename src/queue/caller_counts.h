// How much each caller has waiting in a workspace, whatever the function: for its limit, which
// callers share. One who has nothing waiting costs nothing.
#pragma once

#include <cstdint>

#include "base/id_index.h"
#include "base/slab.h"
#include "model/ids.h"

namespace ember {

class CallerCounts {
 public:
  std::uint32_t total() const { return total_; }
  std::uint32_t callers() const {
    return static_cast<std::uint32_t>(counts_.size()) + (keyless_ > 0 ? 1 : 0);
  }
  std::uint32_t of(KeyId caller) const {
    if (!caller) return keyless_;
    const Slot slot = by_caller_.find(caller);
    return slot == kNoSlot ? 0 : counts_[slot];
  }

  void add(KeyId caller) {
    ++total_;
    if (!caller) {
      ++keyless_;
      return;
    }
    Slot slot = by_caller_.find(caller);
    if (slot == kNoSlot) by_caller_.insert(caller, slot = counts_.add());
    ++counts_[slot];
  }

  // Of one that was added.
  void remove(KeyId caller) {
    --total_;
    if (!caller) {
      --keyless_;
      return;
    }
    const Slot slot = by_caller_.find(caller);
    EMBER_ASSERT(slot != kNoSlot);
    if (--counts_[slot] > 0) return;
    by_caller_.erase(caller);
    counts_.remove(slot);
  }

 private:
  std::uint32_t total_ = 0;
  std::uint32_t keyless_ = 0;
  Slab<std::uint32_t> counts_;
  IdIndex<KeyId> by_caller_;
};

}  // namespace ember
