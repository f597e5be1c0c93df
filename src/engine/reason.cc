#include "engine/reason.h"

#include "model/gpu.h"

namespace ember {
namespace {

std::string number(std::int64_t n) { return std::to_string(n); }

// "1 container", "2 containers"
std::string count(std::int64_t n, const char* noun) {
  return number(n) + " " + noun + (n == 1 ? "" : "s");
}

std::string ahead(std::int64_t inputs) {
  return inputs == 0 ? "it is the first in line" : count(inputs, "input") + " ahead of it";
}

}  // namespace

std::string Reason::text() const {
  switch (code) {
    case ReasonCode::none:
      return "no reason";
    case ReasonCode::waiting_for_slot:
      return "waits for a free slot on " + count(a, "ready container") + "; " + ahead(b);
    case ReasonCode::waiting_for_start:
      return "waits for " + count(a, "container") + " to start; " + ahead(b);
    case ReasonCode::waiting_for_resources:
      return "waits for resources: nothing on the fleet is free for " + count(a, "more container");
    case ReasonCode::waiting_for_share:
      return "waits for " + vram_text(a) + " of a GPU's memory: the most that one has left is " +
             vram_text(b);
    case ReasonCode::waiting_for_leased:
      return "waits for a GPU: " + count(a, "device") + " that it could use " +
             (a == 1 ? "is" : "are") + " leased, the first for " + number(b) + " ms more";
    case ReasonCode::waiting_for_max_containers:
      return "the function is at its maximum of " + count(a, "container");
    case ReasonCode::waiting_for_backoff:
      return "waits " + number(b) + " ms for the next try after " + count(a, "failed start");
    case ReasonCode::waiting_after_refusal:
      return "waits " + number(b) + " ms for the next try after " + count(a, "refused start");
    case ReasonCode::waiting_for_node:
      return "no node is connected; run `ember up`";
    case ReasonCode::waiting_for_batch:
      return "waits at most " + number(b) + " ms for more inputs to run with; the batch has " +
             number(a);
    case ReasonCode::waiting_for_rollout:
      return "waits for the app's newer version, which has been given the room of this one's "
             "containers; " +
             count(a, "container") + " of that starting";
    case ReasonCode::waiting_to_retry:
      return "runs again in " + number(b) + " ms, after " + count(a, "failed attempt");
    case ReasonCode::attempt_failed:
      return "the function raised, or gave what cannot be returned";
    case ReasonCode::expired:
      return "it did not start within " + number(a) + " ms, the time it was given for that";
    case ReasonCode::running:
      return "runs on a container";
    case ReasonCode::demand:
      return count(a, "input") + " running and waiting, " + number(b) + " per container aimed at";
    case ReasonCode::min_containers:
      return "min_containers is " + number(a);
    case ReasonCode::buffer_containers:
      return "buffer_containers is " + number(a) + " while the function is active";
    case ReasonCode::idle_window_over:
      return "idle for " + number(a) + " ms";
    case ReasonCode::over_desired:
      return count(a, "container") + " where " + number(b) + " are wanted";
    case ReasonCode::retired:
      return "a newer version took over";
    case ReasonCode::app_stopped:
      return "the app was stopped";
    case ReasonCode::draining:
      return "the server is draining";
    case ReasonCode::timed_out:
      return "user code did not end after its timeout";
    case ReasonCode::cancelled:
      return "user code did not end after it was cancelled";
    case ReasonCode::startup_timed_out:
      return "not ready within " + number(a) + " ms";
    case ReasonCode::device_cordoned:
      return "a GPU that it holds was cordoned";
    case ReasonCode::operator_asked:
      return "an operator asked for it";
    case ReasonCode::queue_full:
      return "the queue is full: " + count(a, "input") + " wait already; try again later";
    case ReasonCode::workspace_full:
      return "the workspace is full: " + count(a, "input") +
             " of its functions wait already; try again later";
    case ReasonCode::execution_timed_out:
      return "execution went over the function's timeout of " + number(a) + " ms";
    case ReasonCode::caller_cancelled:
      return "cancelled by the caller";
    case ReasonCode::container_crashed:
      return "the container ended while it ran this input";
    case ReasonCode::container_out_of_memory:
      return "the container went over its memory limit of " + number(a >> 20) +
             " MiB while it ran this input";
    case ReasonCode::container_over_gpu_share:
      return "the container used " + vram_text(b) + " of its " + vram_text(a) +
             " share of a GPU while it ran this input";
    case ReasonCode::container_lost_repeatedly:
      return "the container ended under this input " + count(a, "time");
    case ReasonCode::container_lost_pinned:
      return "the container was lost while it ran this input, which can't be run again: a part of "
             "its result had been handed out";
    case ReasonCode::start_failed_repeatedly:
      return "the container failed to start " + count(a, "time") + " in a row";
    case ReasonCode::start_refused_repeatedly:
      return "the start of a container was refused " + count(a, "time") + " in a row";
    case ReasonCode::never_placeable:
      return "no node of the fleet could ever hold one container";
    case ReasonCode::deadlocked:
      return "deadlock: it needs room that " + count(a, "container") +
             (a == 1 ? " holds" : " hold") +
             ", and all that runs there waits for this call or for others like it";
    case ReasonCode::no_device_free:
      return (a == 1 ? "the one such device is in use"
                     : "of " + count(a, "such device") + " too few are free") +
             (b == 0 ? std::string() : "; the first lease of one ends in " + number(b) + " ms");
    case ReasonCode::no_such_device:
      return "no node has such a device";
  }
  return "no reason";
}

}  // namespace ember
