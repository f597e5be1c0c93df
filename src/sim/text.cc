#include "sim/text.h"

#include "sim/overload.h"

namespace ember {
namespace {

std::string words() { return {}; }
template <class First, class... Rest>
std::string words(const First& first, const Rest&... rest) {
  std::string text;
  if constexpr (requires { first.text(); }) {
    text = first.text();
  } else if constexpr (requires { std::to_string(first); }) {
    text = std::to_string(first);
  } else {
    text = first;
  }
  const std::string tail = words(rest...);
  return tail.empty() ? text : text + " " + tail;
}

std::string ids(const std::vector<DeviceId>& devices) {
  std::string text;
  for (const DeviceId device : devices) text += (text.empty() ? "" : ",") + device.text();
  return text;
}

std::string pools(const AppDeployed& event) {
  std::string text;
  for (const PoolSpec& spec : event.pools) text += " " + words(spec.pool, "of", spec.function);
  return text;
}

int number(auto value) { return static_cast<int>(value); }

}  // namespace

std::string describe(const Event& event) {
  return std::visit(
      Overload{
          [](const AppDeployed& e) { return words("AppDeployed", e.app) + pools(e); },
          [](const PoolAdded& e) {
            return words("PoolAdded", e.app, e.pool.pool, "of", e.pool.function);
          },
          [](const ScalingChanged& e) {
            return words("ScalingChanged", e.pool, "from", e.scaling.min_containers, "to",
                         e.scaling.max_containers);
          },
          [](const AppStopped& e) { return words("AppStopped", e.app); },
          [](const InputArrived& e) {
            return words("InputArrived", e.input, e.pool, "of", e.caller, "priority",
                         static_cast<int>(e.priority.value), "for", e.parent);
          },
          [](const InputAwaited& e) { return words("InputAwaited", e.input, "by", e.parent); },
          [](const InputCancelled& e) { return words("InputCancelled", e.input); },
          [](const InputFinished& e) {
            return words("InputFinished", e.input, "attempt", e.attempt, e.container, "outcome",
                         number(e.outcome));
          },
          [](const InputPinned& e) {
            return words("InputPinned", e.input, "attempt", e.attempt, e.container);
          },
          [](const ContainerStarted& e) {
            return words("ContainerStarted", e.container, "at", e.at.us);
          },
          [](const ContainerLoading& e) { return words("ContainerLoading", e.container); },
          [](const ContainerReady& e) { return words("ContainerReady", e.container); },
          [](const ContainerRefused& e) { return words("ContainerRefused", e.container); },
          [](const ContainerExited& e) {
            return words("ContainerExited", e.container, "at", e.at.us, "cause", number(e.cause),
                         "egress", e.egress_bytes);
          },
          [](const EgressReported& e) {
            return words("EgressReported", e.container, "in all", e.total_bytes);
          },
          [](const ContainerAdopted& e) {
            return words("ContainerAdopted", e.container, e.pool, e.node, ids(e.devices), "started",
                         e.started.us, "billed until", e.billed_until.us, "and egress of",
                         e.egress_billed_bytes, "ended", e.ended.us);
          },
          [](const ContainerUnwanted& e) {
            return words("ContainerUnwanted", e.container, "how", number(e.wanted));
          },
          [](const NodeJoined& e) { return words("NodeJoined", e.node); },
          [](const NodeLost& e) { return words("NodeLost", e.node); },
          [](const LeaseAsked& e) {
            return words("LeaseAsked", e.lease, e.gpu, "for", e.length.whole_ms(), "ms, if none",
                         number(e.if_none_free));
          },
          [](const LeaseEnded& e) { return words("LeaseEnded", e.lease); },
          [](const LeaseRestored& e) {
            return words("LeaseRestored", e.lease, e.node, ids(e.devices), "until", e.until.us,
                         "billed until", e.billed_until.us);
          },
          [](const DrainStarted&) { return words("DrainStarted"); },
          [](const RecoveryEnded&) { return words("RecoveryEnded"); },
          [](const TimerDue&) { return words("TimerDue"); },
      },
      event);
}

std::string describe(const Action& action) {
  return std::visit(
      Overload{
          [](const StartContainer& a) {
            return words("StartContainer", a.container, a.pool, a.node, ids(a.devices), "-",
                         a.reason);
          },
          [](const StopContainer& a) {
            return words("StopContainer", a.container,
                         a.mode == StopMode::kill ? "kill -" : "graceful -", a.reason);
          },
          [](const DispatchInput& a) {
            const std::string text =
                words("DispatchInput", a.input, "attempt", a.attempt, a.container);
            return a.batch.first ? words(text, "in the batch of", a.batch.first, "of", a.batch.size)
                                 : text;
          },
          [](const CancelInput& a) {
            return words("CancelInput", a.input, "attempt", a.attempt, a.container);
          },
          [](const AnswerInput& a) {
            return words("AnswerInput", a.input, "outcome", number(a.outcome), "share",
                         a.report.execute_share.us);
          },
          [](const FailInput& a) {
            return words("FailInput", a.input, std::string(error_name(a.code)), "share",
                         a.report.execute_share.us, "-", a.reason);
          },
          [](const RetryInput& a) {
            return words("RetryInput", a.input, std::string(error_name(a.code)), "share",
                         a.report.execute_share.us, "due", a.due.us, "-", a.reason);
          },
          [](const RecordUsage& a) {
            return words("RecordUsage", a.row.lease ? a.row.lease.text() : a.row.container.text(),
                         std::string(meter_name(a.row.meter)), std::string(phase_name(a.row.phase)),
                         a.row.window_start.whole_ms(), "to", a.row.window_end.whole_ms(),
                         "ms:", a.row.quantity, a.row.meter == Meter::egress ? "bytes of" : "ms of",
                         a.row.units);
          },
          [](const GrantLease& a) {
            return words("GrantLease", a.lease, a.node, ids(a.devices), "until", a.until.us);
          },
          [](const RefuseLease& a) { return words("RefuseLease", a.lease, "-", a.reason); },
          [](const ReleaseLease& a) { return words("ReleaseLease", a.lease, "at", a.at.us); },
          [](const ReleaseContainer& a) {
            return words("ReleaseContainer", a.container, "cause", number(a.cause));
          },
      },
      action);
}

}  // namespace ember
