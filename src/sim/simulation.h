// One run: a phase of safety, in which faults strike and the checkers watch every step, then a
// phase of liveness, in which everything is healed, called once more and left alone: then all must
// have been answered, given back and billed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "sim/driver.h"
#include "sim/options.h"

namespace ember {

struct SimReport {
  std::uint64_t seed = 0;
  std::optional<Violation> violation;
  std::uint64_t state_hash = 0;
  DriverCounts counts;
  std::uint64_t inputs = 0;
  Duration simulated;  // time
  std::map<std::string_view, std::uint64_t> faults;
  std::int64_t billed_nano_usd = 0;
};

// `trace`, if given, is told of every event and action as it comes.
SimReport simulate(const SimOptions& options, const Driver::Trace& trace = {});

}  // namespace ember
