#include "control/failure_text.h"

#include <cstring>

namespace ember {
namespace {

constexpr int kLoadFailedStatus = 70;

std::string items_text(std::uint64_t items) {
  return std::to_string(items) + (items == 1 ? " item" : " items");
}

// Where a reason of its own does not say it.
std::string broken_stream(const FailInput& failure, std::uint64_t items) {
  const bool lost =
      failure.code == ErrorCode::container_crashed || failure.code == ErrorCode::out_of_memory;
  if (items == 0 || !lost || failure.reason.code == ReasonCode::container_lost_pinned) return {};
  return "; the stream broke after " + items_text(items);
}

std::string cause(const FailInput& failure, const Function& function,
                  const FailureEvidence& evidence) {
  const std::string reason = failure.reason.text();
  const std::string how = evidence.exit.empty() ? "" : " (" + evidence.exit + ")";
  switch (failure.reason.code) {
    case ReasonCode::container_lost_pinned:
      return "the stream broke after " + items_text(evidence.items) + ": its container was lost" +
             how + "; it is not run again, since its caller has seen a part of it";
    case ReasonCode::never_placeable:
      return reason + ": it asks for " + function.spec.settings.resources.gpu.text() +
             ", the fleet has " + evidence.fleet;
    case ReasonCode::container_crashed:
    case ReasonCode::container_lost_repeatedly:
    case ReasonCode::start_failed_repeatedly:
    case ReasonCode::start_refused_repeatedly:
      return reason + how;
    default:
      return reason;
  }
}

std::string next_step(ReasonCode code, const std::string& app) {
  switch (code) {
    case ReasonCode::queue_full:
      return "or raise queue_limit= in the function's decorator";
    case ReasonCode::workspace_full:
      return "or raise --workspace-queue-limit of `ember up`";
    case ReasonCode::execution_timed_out:
      return "raise timeout= if it needs longer";
    case ReasonCode::container_out_of_memory:
      return "raise memory= in the function's decorator";
    case ReasonCode::container_over_gpu_share:
      return "ask for more by vram= in the function's decorator";
    case ReasonCode::container_crashed:
    case ReasonCode::container_lost_pinned:
    case ReasonCode::container_lost_repeatedly:
    case ReasonCode::start_failed_repeatedly:
    case ReasonCode::start_refused_repeatedly:
      return "see `ember logs " + app + "`";
    case ReasonCode::deadlocked:
      return "raise max_containers= or max_inputs=, or have the caller not wait for it";
    case ReasonCode::draining:
      return "try again once it is up again";
    case ReasonCode::app_stopped:
      return "deploy it again with `ember deploy`";
    default:
      return {};
  }
}

}  // namespace

std::string describe_exit(const ContainerExit& exit) {
  if (exit.out_of_memory) return "out of memory";
  if (exit.gpu_used_bytes > 0) {
    return "over its share of a GPU, with " + vram_text(exit.gpu_used_bytes) + " of its memory";
  }
  if (!exit.fault.empty()) return exit.fault;
  if (exit.signal != 0) {
    return "signal " + std::to_string(exit.signal) + ", " + ::strsignal(exit.signal);
  }
  if (exit.exit_status >= 0) return "exit status " + std::to_string(exit.exit_status);
  return "nobody saw how";
}

ExitCause exit_cause(const ContainerExit& exit, ExitContext context) {
  if (exit.out_of_memory) return ExitCause::out_of_memory;
  if (exit.gpu_used_bytes > 0) return ExitCause::over_gpu_share;
  if (context.load_failed || exit.exit_status == kLoadFailedStatus) return ExitCause::load_failed;
  return context.asked || !exit.fault.empty() ? ExitCause::stopped : ExitCause::crashed;
}

std::string failure_text(const FailInput& failure, const Function& function,
                         const FailureEvidence& evidence) {
  std::string text = function.app_name + "." + function.spec.name + ": " +
                     cause(failure, function, evidence) + broken_stream(failure, evidence.items);
  const std::string step = next_step(failure.reason.code, function.app_name);
  if (!step.empty()) text += "; " + step;
  if (!evidence.log_tail.empty()) text += ". Last lines of its log:\n" + evidence.log_tail;
  return text;
}

}  // namespace ember
