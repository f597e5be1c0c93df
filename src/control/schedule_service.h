// Functions that are run by themselves, as the gateway sees them. All of it runs on the loop's
// thread; `done` once on it, possibly before the call returns.
#pragma once

#include <string>

#include "control/async_calls.h"

namespace ember {

enum class Pausing : std::uint8_t { pause, resume };

class ScheduleService {
 public:
  using Done = AsyncCalls::Done;
  using OnStarted = AsyncCalls::OnStarted;

  virtual ~ScheduleService() = default;
  virtual void list(Done done) = 0;
  // Now, beside its ticks and whether or not it is paused.
  virtual void run(std::string app, std::string function, KeyId caller, OnStarted done) = 0;
  virtual void pause(std::string app, std::string function, Pausing pausing, Done done) = 0;
};

}  // namespace ember
