// The inputs of one pool that wait for a slot, by priority: while one of a higher priority waits,
// none of a lower one is taken, so that these may wait without end. Within a priority it is as in
// waiting_queue.h: callers take turns.
//
// Limits ask for callers whatever the priorities of what they have waiting, so that is counted
// apart. The usual priority needs no look into the map.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "queue/caller_counts.h"
#include "queue/waiting_queue.h"

namespace ember {

class PriorityQueue {
 public:
  using Others = std::map<Priority, WaitingQueue, std::greater<>>;

  bool empty() const { return size() == 0; }
  std::uint32_t size() const { return callers_.total(); }
  // Who has something waiting, and how much of it.
  std::uint32_t callers() const { return callers_.callers(); }
  std::uint32_t size_of(KeyId caller) const { return callers_.of(caller); }
  // A line of the caller's: that of the usual priority if it has one; kNoSlot if nothing of it
  // waits.
  Slot find_line(KeyId caller) const;

  // As of WaitingQueue, among those of the input's priority.
  void push(InputSlab& inputs, CallerLines& lines, Slot slot);
  void give_back(InputSlab& inputs, CallerLines& lines, Slot slot);
  Slot take(InputSlab& inputs, CallerLines& lines);
  void remove(InputSlab& inputs, CallerLines& lines, Slot slot);
  std::uint32_t ahead_of(const InputSlab& inputs, const CallerLines& lines, Slot slot) const;

  // For the hash.
  const WaitingQueue& usual() const { return usual_; }
  const Others& others() const { return others_; }  // the highest first; none is empty

 private:
  WaitingQueue& level(Priority priority);
  const WaitingQueue& level(Priority priority) const;
  Priority highest() const;
  void drop_if_empty(Priority priority);

  CallerCounts callers_;
  WaitingQueue usual_;
  Others others_;
};

}  // namespace ember
