#include "queue/waiting_queue.h"

#include <iterator>

namespace ember {

void WaitingQueue::push(InputSlab& inputs, Slot slot) {
  inputs[slot].state = InputState::waiting;
  inputs[slot].returned = false;
  fresh_.push_back(inputs, slot);
}

void WaitingQueue::give_back(InputSlab& inputs, Slot slot) {
  inputs[slot].state = InputState::waiting;
  inputs[slot].returned = true;
  returned_.emplace(inputs[slot].order, slot);
}

void WaitingQueue::remove(InputSlab& inputs, Slot slot) {
  if (inputs[slot].returned) {
    returned_.erase({inputs[slot].order, slot});
  } else {
    fresh_.remove(inputs, slot);
  }
}

std::uint32_t WaitingQueue::ahead_of(const InputSlab& inputs, Slot slot) const {
  if (inputs[slot].returned) {
    const auto place = returned_.find({inputs[slot].order, slot});
    return static_cast<std::uint32_t>(std::distance(returned_.begin(), place));
  }
  auto ahead = static_cast<std::uint32_t>(returned_.size());
  while ((slot = fresh_.previous(inputs, slot)) != kNoSlot) ++ahead;
  return ahead;
}

}  // namespace ember
