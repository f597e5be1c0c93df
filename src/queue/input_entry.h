// What the engine keeps of one input from its arrival until its slot is free again.
#pragma once

#include <cstdint>

#include "base/slab.h"
#include "base/time.h"
#include "model/ids.h"

namespace ember {

enum class InputState : std::uint8_t {
  waiting,
  running,
  ending,  // its caller has been answered; the runner has not let go of it yet
};

struct InputEntry {
  InputId id;
  KeyId caller;  // zero: it came without a key, from a container
  Slot pool = kNoSlot;
  Slot container = kNoSlot;    // while it runs or ends
  Slot caller_line = kNoSlot;  // while it waits
  std::uint64_t order = 0;     // of arrival, over the whole engine
  Time arrived;
  Time dispatched;               // last attempt
  Time kill_at;                  // while ending: when its container is killed for it
  std::int64_t share_start = 0;  // reading of the container's share clock at dispatch
  Attempt attempt = 0;           // dispatched last
  std::uint16_t lost = 0;        // attempts lost with a crashed neighbour
  InputState state = InputState::waiting;
  bool returned = false;  // it waits again after an attempt
  bool cold = false;      // it waited for the container that it runs on to start
  bool overran = false;   // while ending: for its timeout, not for a cancellation
  bool pinned = false;    // it must not run again
  Links line;             // among its caller's waiting or its pool's running inputs
  Links together;         // among the inputs of its container
};

using InputSlab = Slab<InputEntry>;

}  // namespace ember
