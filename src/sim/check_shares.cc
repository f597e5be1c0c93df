// The execute shares of a container's inputs add up to the time it executed. An attempt that was
// taken back has no share, so with one of those they add up to less; time after an end of which the
// word came late was shared before anybody could know.
#include <algorithm>
#include <set>

#include "sim/checker.h"
#include "sim/overload.h"

namespace ember {
namespace {

class CheckShares : public Checker {
 public:
  void on_restart() override { executing_.clear(); }

  void on_action(const Step& step, const Action& action) override {
    std::visit(Overload{
                   [&](const DispatchInput& one) {
                     Executing& container = executing_[one.container];
                     advance(container, step.now);
                     container.running.insert(one.input);
                   },
                   [&](const AnswerInput& one) { leave(step, one.input, one.report); },
                   [&](const FailInput& one) { leave(step, one.input, one.report); },
                   [&](const RetryInput& one) { leave(step, one.input, one.report); },
                   [&](const RecordUsage& one) {
                     if (one.row.lease) return;
                     Time& until = executing_[one.row.container].recorded_until;
                     until = std::max(until, one.row.window_end);
                   },
                   [&](const StopContainer& one) { take_back(step, one.container, step.now); },
                   [&](const ReleaseContainer& one) { on_release(step, one.container); },
                   [](const auto&) {},
               },
               action);
  }

 private:
  struct Executing {
    std::set<InputId> running;
    Time since;           // up to which all is counted
    Time recorded_until;  // by usage rows
    std::int64_t us = 0;
    std::int64_t shared_us = 0;
    bool taken_back = false;
  };

  static void advance(Executing& container, Time now) {
    if (!container.running.empty()) {
      container.us += std::max<std::int64_t>((now - container.since).us, 0);
    }
    container.since = std::max(container.since, now);
  }

  static Time end_of(const Step& step) {
    const auto* exited = std::get_if<ContainerExited>(&step.event);
    return exited ? std::min(exited->at, step.now) : step.now;
  }

  void leave(const Step& step, InputId id, const InputReport& report) {
    const InputFact* input = step.facts.input(id);
    const auto found = input ? executing_.find(input->container) : executing_.end();
    if (found == executing_.end()) {
      if (report.execute_share.us != 0) {
        step.findings.add("execute shares add up", id.text() + " never ran and has a share");
      }
      return;
    }
    const auto* exited = std::get_if<ContainerExited>(&step.event);
    const bool with_it = exited && exited->container == input->container;
    advance(found->second, with_it ? end_of(step) : step.now);
    found->second.running.erase(id);
    found->second.shared_us += report.execute_share.us;
  }

  void take_back(const Step&, ContainerId id, Time at) {
    const auto found = executing_.find(id);
    if (found == executing_.end()) return;
    advance(found->second, at);
    found->second.taken_back |= !found->second.running.empty();
    found->second.running.clear();
  }

  void on_release(const Step& step, ContainerId id) {
    const auto found = executing_.find(id);
    if (found == executing_.end()) return;
    const Time at = end_of(step);
    const std::int64_t late_us = std::max<std::int64_t>(
        (std::max(found->second.since, found->second.recorded_until) - at).us, 0);
    take_back(step, id, at);
    const Executing& container = found->second;
    const std::int64_t off_us = container.shared_us - container.us;
    const bool adds_up = off_us <= late_us && (container.taken_back || off_us >= -late_us);
    if (!adds_up) {
      step.findings.add("execute shares add up",
                        id.text() + " executed for " + std::to_string(container.us) +
                            " us and its inputs share " + std::to_string(container.shared_us));
    }
    executing_.erase(found);
  }

  std::map<ContainerId, Executing> executing_;
};

}  // namespace

std::unique_ptr<Checker> check_shares() { return std::make_unique<CheckShares>(); }

}  // namespace ember
