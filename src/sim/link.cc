#include "sim/link.h"

#include "sim/overload.h"

namespace ember {
namespace {

ContainerId runner_of(const NodeCommand& command) {
  return std::visit(Overload{[](const DispatchInput& one) { return one.container; },
                             [](const CancelInput& one) { return one.container; },
                             [](const CallEnded& one) { return one.container; },
                             [](const auto&) { return ContainerId{}; }},
                    command);
}

ContainerId runner_of(const NodeMessage& message) {
  return std::visit(Overload{[](const ContainerLoading& one) { return one.container; },
                             [](const ContainerReady& one) { return one.container; },
                             [](const InputFinished& one) { return one.container; },
                             [](const InputPinned& one) { return one.container; },
                             [](const CallMade& one) { return one.container; },
                             [](const auto&) { return ContainerId{}; }},
                    message);
}

}  // namespace

void Link::to_node(NodeId node, NodeCommand command) {
  End& end = ends_[node];
  Time& last = end.last_to_node[runner_of(command)];
  send(end, last, CommandArrives{node, end.session, std::move(command)});
}

void Link::to_driver(NodeId node, NodeMessage message) {
  End& end = ends_[node];
  Time& last = end.last_to_driver[runner_of(message)];
  send(end, last, MessageArrives{node, end.session, std::move(message)});
}

void Link::send(End& end, Time& last, Task task) {
  if (end.cut) {
    end.held.push_back(std::move(task));
    return;
  }
  Random& random = faults_.random();
  Duration delay = Duration::microseconds(random.between(50, 2'000));
  if (faults_.strikes(&FaultRates::late)) {
    delay += Duration::milliseconds(random.between(100, 4'000));
  }
  if (faults_.strikes(&FaultRates::lost)) {
    delay += Duration::milliseconds(random.between(300, 2'000));
  }
  Time at = agenda_.now() + delay;
  if (!faults_.strikes(&FaultRates::reordered)) last = at = std::max(at, last);
  if (faults_.strikes(&FaultRates::doubled)) {
    agenda_.at(at + Duration::microseconds(random.between(0, 2'000'000)), task);
  }
  agenda_.at(at, std::move(task));
}

void Link::mend(NodeId node) {
  End& end = ends_[node];
  end.cut = false;
  Duration delay;
  for (Task& task : end.held) {
    delay += Duration::microseconds(faults_.random().between(10, 200));
    agenda_.after(delay, std::move(task));
  }
  end.held.clear();
}

void Link::renew(NodeId node) {
  End& end = ends_[node];
  ++end.session;
  end.held.clear();
}

bool Link::is_cut(NodeId node) const {
  const auto found = ends_.find(node);
  return found != ends_.end() && found->second.cut;
}

bool Link::is_current(NodeId node, Session session) const {
  const auto found = ends_.find(node);
  return found == ends_.end() ? session == 1 : found->second.session == session;
}

}  // namespace ember
