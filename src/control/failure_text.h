// What a caller is told when a call ends without a result: the cause, the evidence, the next step.
#pragma once

#include <string>

#include "control/app_catalog.h"
#include "engine/action.h"
#include "node/node_client.h"

namespace ember {

// "exit status 1", "signal 11 (Segmentation fault)", "out of memory".
std::string describe_exit(const ContainerExit& exit);

struct ExitContext {
  bool asked = false;        // we had asked it to stop
  bool load_failed = false;  // its runner said so before it ended
};
ExitCause exit_cause(const ContainerExit& exit, ExitContext context);

struct FailureEvidence {
  std::string exit;         // how the container ended
  std::string log_tail;     // the last lines it wrote
  std::string fleet;        // what GPUs there are
  std::uint64_t items = 0;  // of its result that were handed out
};
std::string failure_text(const FailInput& failure, const Function& function,
                         const FailureEvidence& evidence);

}  // namespace ember
