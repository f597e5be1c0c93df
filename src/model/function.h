// What the decisions need to know of a function version. How it is run (image, source, entry) is
// the driver's business and never reaches the engine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "model/gpu.h"
#include "model/ids.h"

namespace ember {

struct Resources {
  std::int64_t cpu_millicores = 125;
  std::int64_t memory_bytes = 128ll << 20;
  GpuDemand gpu;
};

struct Scaling {
  std::uint32_t min_containers = 0;
  std::uint32_t max_containers = 100;   // over all versions of the function together
  std::uint32_t buffer_containers = 0;  // extra idle ones, only while the function is active
  Duration scaledown_window = Duration::seconds(60);  // most time a container stays idle
  std::uint32_t max_inputs = 1;                       // inputs one container may run at once
  std::uint32_t target_inputs = 1;                    // inputs per container the autoscaler aims at
  std::uint32_t queue_limit = 10'000;                 // inputs waiting; one more is refused
};

// After an attempt that failed by the function's own doing: an exception, a time-out, a crash. A
// lost container or node uses none up.
struct Retries {
  std::uint32_t max_retries = 0;  // executions are at most one more
  Duration initial_delay = Duration::seconds(1);
  std::uint32_t backoff_permille = 2000;  // what each further delay is multiplied by, in 1/1000
  Duration max_delay = Duration::seconds(60);
};

// Inputs of a batched function run together, as one execution that takes one slot.
struct Batching {
  std::uint32_t max_batch_size = 0;  // zero: it is not batched, each input runs by itself
  Duration wait;                     // most time that a free slot is left to gather more

  bool is_on() const { return max_batch_size > 0; }
};

struct FunctionSettings {
  Resources resources;
  Scaling scaling;
  Retries retries;
  Duration timeout = Duration::seconds(300);          // per attempt, execution only
  Duration startup_timeout = Duration::seconds(300);  // from placement to ready
  Batching batching = {};
};

// Every limit and relation of the settings; the message names the field and what it may be.
Result<> check(const FunctionSettings& settings);

// App and function names: 1 to 63 of a-z A-Z 0-9 . _ -, beginning with a letter or digit.
Result<> check_name(std::string_view kind, std::string_view name);

}  // namespace ember
