// Usage that waits for the disk, made small: the windows of a container that follow one another
// become one, so that what waits grows with the number of containers and not with time.
#pragma once

#include "store/store.h"

namespace ember {

// Joins, for each container, all windows of the batch, and prices the rows anew: each is still
// rounded once. Every millisecond and byte stays in the phase that it was in. Only for records that
// the store has not been given yet: a row is known by the start of its window, so that one that is
// on disk already, unknown to us, would keep the rest of a joined one out.
Batch join_windows(Batch batch);

}  // namespace ember
