// How long containers of a function usually take to start, learned from the last of them, and so
// how long a call that waits for one has to wait yet.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "base/time.h"
#include "model/ids.h"

namespace ember {

// Starts of all versions of a function, each from its placement until it was ready.
class UsualStart {
 public:
  void add(Duration took);
  // The median of the last ones; nothing before the first.
  std::optional<Duration> duration() const;

 private:
  std::array<Duration, 9> last_{};
  std::size_t count_ = 0;  // ever added
};

// Containers of a pool that have been placed and are not ready, oldest first.
class StartsUnderWay {
 public:
  void add(ContainerId container, Time placed) { starts_.emplace_back(container, placed); }
  // Nothing comes of one that is not among them.
  void remove(ContainerId container);
  // When the start was begun that so many others came before; nothing if there are fewer.
  std::optional<Time> begun(std::size_t place) const;

 private:
  std::vector<std::pair<ContainerId, Time>> starts_;
};

}  // namespace ember
