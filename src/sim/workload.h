// The load of a run, drawn from the seed: each function is called at a rate of its own, some of
// them in bursts; some callers leave before they are answered.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/random.h"
#include "sim/agenda.h"
#include "sim/task.h"

namespace ember {

class Workload {
 public:
  // `callers` draws who calls and `priorities` how urgently, apart from all else that `random`
  // draws.
  Workload(Random& random, Random callers, Random priorities,
           const std::vector<FunctionId>& functions);

  struct Arrivals {
    std::uint32_t count = 1;  // at once
    Duration next;            // until the function is called again
  };
  Arrivals draw(FunctionId function);
  // Whose key a call has: of four callers one calls most; some calls have no key.
  KeyId caller();
  // Most calls have the usual one.
  Priority priority();
  bool caller_leaves() { return random_.chance(60); }
  // Whether it has to start within a time.
  bool expires() { return random_.chance(100); }
  Duration patience() { return Duration::milliseconds(random_.between(1, 4'000)); }

 private:
  struct Habit {
    Duration mean_gap;
    std::uint32_t burst = 1;     // most calls at once
    std::uint32_t bursting = 0;  // per mille of its arrivals
  };

  Random& random_;
  Random callers_, priorities_;
  std::map<FunctionId, Habit> habits_;
};

}  // namespace ember
