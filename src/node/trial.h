// A function in a real container, from start to end, through the node's own code: an agent on a
// directory of its own, a driver, the runner, user code, a result, a stop.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "node/node_options.h"

namespace ember {

struct TrialReport {
  std::string isolation;             // that the container had
  std::string network;               // how it reaches out
  std::vector<std::string> missing;  // limits that are not to be had, one line each
  std::vector<std::string> holes;    // what the sandbox let through, one line each
  Duration boot, load, call, stop;
};

// `options.data` is a directory that nobody else uses; it has nothing in it again afterwards but
// what an ended node leaves. The error says which step failed.
Result<TrialReport> run_trial(const NodeOptions& options);

}  // namespace ember
