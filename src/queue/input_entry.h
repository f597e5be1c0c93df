// What the engine keeps of one input from its arrival until its slot is free again.
#pragma once

#include <cstdint>

#include "base/slab.h"
#include "base/time.h"
#include "model/ids.h"
#include "model/priority.h"

namespace ember {

enum class InputState : std::uint8_t {
  waiting,
  running,
  ending,   // it is over; the runner has not let go of it yet
  delayed,  // it has failed, and waits again once its delay is over
};

struct InputEntry {
  InputId id;
  KeyId caller;  // zero: it came without a key, from a container
  Slot pool = kNoSlot;
  Slot container = kNoSlot;    // while it runs or ends
  Slot batch = kNoSlot;        // while it runs or ends, of a batched function
  Slot caller_line = kNoSlot;  // while it waits
  std::uint64_t order = 0;     // of arrival, over the whole engine
  Time arrived;
  Time dispatched;           // last attempt
  Time kill_at;              // while ending: when its container is killed for it
  Time due = Time::never();  // waiting: until when; delayed, or ending to retry: from when again
  std::int64_t share_start = 0;  // reading of the container's share clock at dispatch
  Attempt attempt = 0;           // dispatched last
  std::uint16_t lost = 0;        // attempts lost with a crashed neighbour
  InputState state = InputState::waiting;
  bool returned = false;  // it waits again after an attempt
  bool cold = false;      // it waited for the container that it runs on to start
  bool overran = false;   // while ending: for its timeout, not for a cancellation
  bool pinned = false;    // it must not run again
  bool retries = false;   // while ending: it runs again, and its caller waits on
  Priority priority;
  std::uint16_t retried = 0;  // attempts made for failures of its own
  std::uint32_t deadline_position = kNoSlot;
  Links line;             // among its caller's waiting, or its pool's running or delayed inputs
  Links together;         // among the inputs of its container
  Links siblings;         // among those that its parent waits for
  Slot parent = kNoSlot;  // that runs, and waits for it
  SlotList<InputEntry, &InputEntry::siblings> awaited;  // by it, while it runs
};

using InputSlab = Slab<InputEntry>;

}  // namespace ember
