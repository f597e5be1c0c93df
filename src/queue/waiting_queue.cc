#include "queue/waiting_queue.h"

#include <algorithm>
#include <iterator>

namespace ember {

Slot WaitingQueue::find_line(KeyId caller) const {
  return caller ? by_caller_.find(caller) : keyless_;
}

// One caller alone is the common case, and needs no look into the index.
Slot WaitingQueue::find_or_add_line(CallerLines& lines, KeyId caller) {
  const Slot last = turns_.back();
  if (last != kNoSlot && lines[last].caller == caller) return last;
  Slot line = find_line(caller);
  if (line != kNoSlot) return line;
  line = lines.add();
  lines[line].caller = caller;
  turns_.push_back(lines, line);
  if (caller) {
    by_caller_.insert(caller, line);
  } else {
    keyless_ = line;
  }
  return line;
}

void WaitingQueue::drop_line(CallerLines& lines, Slot line) {
  const KeyId caller = lines[line].caller;
  if (caller) {
    by_caller_.erase(caller);
  } else {
    keyless_ = kNoSlot;
  }
  turns_.remove(lines, line);
  lines.remove(line);
}

std::uint32_t WaitingQueue::size_of(const CallerLines& lines, KeyId caller) const {
  const Slot line = find_line(caller);
  return line == kNoSlot ? 0 : lines[line].size();
}

void WaitingQueue::push(InputSlab& inputs, CallerLines& lines, Slot slot) {
  InputEntry& input = inputs[slot];
  input.state = InputState::waiting;
  input.returned = false;
  input.caller_line = find_or_add_line(lines, input.caller);
  lines[input.caller_line].fresh.push_back(inputs, slot);
  ++size_;
}

void WaitingQueue::give_back(InputSlab& inputs, CallerLines& lines, Slot slot) {
  InputEntry& input = inputs[slot];
  input.state = InputState::waiting;
  input.returned = true;
  input.caller_line = find_or_add_line(lines, input.caller);
  returned_.emplace(input.caller_line, input.order, slot);
  ++lines[input.caller_line].returned;
  ++size_;
}

void WaitingQueue::take_out(InputSlab& inputs, CallerLines& lines, Slot slot) {
  const InputEntry& input = inputs[slot];
  CallerLine& line = lines[input.caller_line];
  if (input.returned) {
    returned_.erase({input.caller_line, input.order, slot});
    --line.returned;
  } else {
    line.fresh.remove(inputs, slot);
  }
  --size_;
}

Slot WaitingQueue::take(InputSlab& inputs, CallerLines& lines) {
  const Slot line_slot = turns_.front();
  CallerLine& line = lines[line_slot];
  const Slot slot = line.returned > 0 ? std::get<2>(*returned_.lower_bound({line_slot, 0, 0}))
                                      : line.fresh.front();
  take_out(inputs, lines, slot);
  if (line.size() == 0) {
    drop_line(lines, line_slot);
  } else if (turns_.size() > 1) {
    turns_.remove(lines, line_slot);
    turns_.push_back(lines, line_slot);
  }
  return slot;
}

void WaitingQueue::remove(InputSlab& inputs, CallerLines& lines, Slot slot) {
  const Slot line = inputs[slot].caller_line;
  take_out(inputs, lines, slot);
  if (lines[line].size() == 0) drop_line(lines, line);
}

// How many of its own caller stand before it.
std::uint32_t WaitingQueue::place_of(const InputSlab& inputs, const CallerLines& lines,
                                     Slot slot) const {
  const Slot line_slot = inputs[slot].caller_line;
  if (inputs[slot].returned) {
    const auto first = returned_.lower_bound({line_slot, 0, 0});
    const auto place = returned_.find({line_slot, inputs[slot].order, slot});
    return static_cast<std::uint32_t>(std::distance(first, place));
  }
  const CallerLine& line = lines[line_slot];
  std::uint32_t place = line.returned;
  while ((slot = line.fresh.previous(inputs, slot)) != kNoSlot) ++place;
  return place;
}

// In each round before its own turn every other caller that still has something is served once;
// in its own round those are whose turn comes first.
std::uint32_t WaitingQueue::ahead_of(const InputSlab& inputs, const CallerLines& lines,
                                     Slot slot) const {
  const Slot own = inputs[slot].caller_line;
  const std::uint32_t place = place_of(inputs, lines, slot);
  std::uint32_t ahead = place;
  std::uint32_t rounds = place + 1;
  for (Slot line = turns_.front(); line != kNoSlot; line = turns_.next(lines, line)) {
    if (line == own) {
      rounds = place;
    } else {
      ahead += std::min(rounds, lines[line].size());
    }
  }
  return ahead;
}

}  // namespace ember
