// What one caller has waiting in one pool: a line of its own in which it is served first come,
// first served. It exists only while something of it waits, so idle callers cost nothing.
#pragma once

#include <cstdint>

#include "base/slab.h"
#include "base/time.h"
#include "model/ids.h"
#include "queue/input_entry.h"

namespace ember {

struct CallerLine {
  KeyId caller;
  SlotList<InputEntry, &InputEntry::line> fresh;
  std::uint32_t returned = 0;  // inputs of it that came back; they stand before the fresh ones
  Time returns;                // when the last one that was refused is to come back
  Links turn;                  // among the callers of its pool, by whose turn is next

  std::uint32_t size() const { return fresh.size() + returned; }
};

using CallerLines = Slab<CallerLine>;

}  // namespace ember
