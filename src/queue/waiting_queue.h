// The inputs of one pool that wait for a slot. Callers take turns, one input each; among a caller's
// own it is first come, first served. Who begins to wait stands behind all that wait already, and
// so does who has just been served: while a caller waits, no other is served twice between two of
// its turns. A turn is an input, however long that runs.
//
// An input that comes back from a lost container takes its old place in its caller's line. It was
// dispatched before any of that line that has never run, so all that came back stand before all
// that are fresh, and only the former need an ordered set: the common path is linked lists and
// allocates nothing.
#pragma once

#include <cstdint>
#include <set>
#include <tuple>

#include "base/id_index.h"
#include "queue/caller_line.h"

namespace ember {

class WaitingQueue {
 public:
  bool empty() const { return size_ == 0; }
  std::uint32_t size() const { return size_; }
  // Who has something waiting, and how much of it.
  std::uint32_t callers() const { return turns_.size(); }
  std::uint32_t size_of(const CallerLines& lines, KeyId caller) const;
  // The caller's line; kNoSlot if nothing of it waits.
  Slot find_line(KeyId caller) const;

  // A new arrival, later than all before it. The caller has checked the limit.
  void push(InputSlab& inputs, CallerLines& lines, Slot slot);
  // One that has run: back to its place by arrival. Never refused.
  void give_back(InputSlab& inputs, CallerLines& lines, Slot slot);
  // Takes the one whose turn it is; there must be one.
  Slot take(InputSlab& inputs, CallerLines& lines);
  // Takes it out from anywhere: O(1) for a fresh one, O(log n) for one that came back.
  void remove(InputSlab& inputs, CallerLines& lines, Slot slot);
  // How many are served before it if no more arrive: O(n), for people who ask.
  std::uint32_t ahead_of(const InputSlab& inputs, const CallerLines& lines, Slot slot) const;

  // For the hash: the callers by whose turn is next.
  const auto& turns() const { return turns_; }

 private:
  // By line, and in a line by order of arrival.
  using Place = std::tuple<Slot, std::uint64_t, Slot>;

  Slot find_or_add_line(CallerLines& lines, KeyId caller);
  void drop_line(CallerLines& lines, Slot line);
  void take_out(InputSlab& inputs, CallerLines& lines, Slot slot);
  std::uint32_t place_of(const InputSlab& inputs, const CallerLines& lines, Slot slot) const;

  std::uint32_t size_ = 0;
  Slot keyless_ = kNoSlot;  // the line of those who have no key
  SlotList<CallerLine, &CallerLine::turn> turns_;
  IdIndex<KeyId> by_caller_;
  std::set<Place> returned_;
};

}  // namespace ember
