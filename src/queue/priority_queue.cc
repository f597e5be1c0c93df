#include "queue/priority_queue.h"

namespace ember {
namespace {

constexpr Priority kUsual{};

}  // namespace

WaitingQueue& PriorityQueue::level(Priority priority) {
  return priority == kUsual ? usual_ : others_[priority];
}

const WaitingQueue& PriorityQueue::level(Priority priority) const {
  return priority == kUsual ? usual_ : others_.at(priority);
}

// Of those that have something waiting; there must be one.
Priority PriorityQueue::highest() const {
  if (others_.empty()) return kUsual;
  const Priority first = others_.begin()->first;
  return usual_.empty() || first > kUsual ? first : kUsual;
}

void PriorityQueue::drop_if_empty(Priority priority) {
  if (priority != kUsual && level(priority).empty()) others_.erase(priority);
}

Slot PriorityQueue::find_line(KeyId caller) const {
  Slot line = usual_.find_line(caller);
  for (auto other = others_.begin(); line == kNoSlot && other != others_.end(); ++other) {
    line = other->second.find_line(caller);
  }
  return line;
}

void PriorityQueue::push(InputSlab& inputs, CallerLines& lines, Slot slot) {
  callers_.add(inputs[slot].caller);
  level(inputs[slot].priority).push(inputs, lines, slot);
}

void PriorityQueue::give_back(InputSlab& inputs, CallerLines& lines, Slot slot) {
  callers_.add(inputs[slot].caller);
  level(inputs[slot].priority).give_back(inputs, lines, slot);
}

Slot PriorityQueue::take(InputSlab& inputs, CallerLines& lines) {
  const Priority priority = highest();
  const Slot slot = level(priority).take(inputs, lines);
  callers_.remove(inputs[slot].caller);
  drop_if_empty(priority);
  return slot;
}

void PriorityQueue::remove(InputSlab& inputs, CallerLines& lines, Slot slot) {
  const Priority priority = inputs[slot].priority;
  level(priority).remove(inputs, lines, slot);
  callers_.remove(inputs[slot].caller);
  drop_if_empty(priority);
}

std::uint32_t PriorityQueue::ahead_of(const InputSlab& inputs, const CallerLines& lines,
                                      Slot slot) const {
  const Priority own = inputs[slot].priority;
  std::uint32_t ahead = own < kUsual ? usual_.size() : 0;
  for (auto other = others_.begin(); other != others_.end() && other->first > own; ++other) {
    ahead += other->second.size();
  }
  return ahead + level(own).ahead_of(inputs, lines, slot);
}

}  // namespace ember
