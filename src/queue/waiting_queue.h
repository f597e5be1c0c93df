// The inputs of one pool that wait for a slot: first come, first served.
//
// An input that comes back from a lost container takes its old place. It was dispatched before any
// that has never run, so all that came back stand before all that are fresh, and only the former
// need an ordered set: the common path is a linked list and allocates nothing.
#pragma once

#include <cstdint>
#include <set>

#include "queue/input_entry.h"

namespace ember {

class WaitingQueue {
 public:
  bool empty() const { return size() == 0; }
  std::uint32_t size() const {
    return fresh_.size() + static_cast<std::uint32_t>(returned_.size());
  }
  // The first in line; kNoSlot if nobody waits.
  Slot front() const { return returned_.empty() ? fresh_.front() : returned_.begin()->second; }

  // A new arrival, later than all before it. The caller has checked the limit.
  void push(InputSlab& inputs, Slot slot);
  // One that has run: back to its place by arrival. Never refused.
  void give_back(InputSlab& inputs, Slot slot);
  // Takes it out from anywhere: O(1) for a fresh one, O(log n) for one that came back.
  void remove(InputSlab& inputs, Slot slot);
  // How many stand before it: O(n), for people who ask.
  std::uint32_t ahead_of(const InputSlab& inputs, Slot slot) const;

 private:
  SlotList<InputEntry, &InputEntry::line> fresh_;
  std::set<std::pair<std::uint64_t, Slot>> returned_;  // by order of arrival
};

}  // namespace ember
