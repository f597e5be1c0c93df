#include "scheduler/refusals.h"

#include <algorithm>

namespace ember {
namespace {

bool node_before(const Refusals::Entry& entry, NodeId node) { return entry.node < node; }

}  // namespace

void Refusals::refused(NodeId node, Time now, Duration first_wait, Duration longest_wait) {
  // What is long over is forgotten, so that the list stays as short as the trouble is.
  std::erase_if(nodes_, [&](const Entry& e) { return e.until + longest_wait < now; });
  auto at = std::lower_bound(nodes_.begin(), nodes_.end(), node, node_before);
  if (at == nodes_.end() || at->node != node) at = nodes_.insert(at, {node, 0, {}});
  Duration wait = first_wait;
  for (std::uint32_t i = 0; i < at->in_a_row && wait < longest_wait; ++i) wait = wait * 2;
  ++at->in_a_row;
  at->until = now + std::min(wait, longest_wait);
}

void Refusals::accepted(NodeId node) {
  std::erase_if(nodes_, [&](const Entry& e) { return e.node == node; });
}

std::vector<NodeId> Refusals::avoid(Time now) const {
  std::vector<NodeId> nodes;
  for (const Entry& entry : nodes_) {
    if (now < entry.until) nodes.push_back(entry.node);
  }
  return nodes;
}

Time Refusals::next_retry(Time now) const {
  Time next = Time::never();
  for (const Entry& entry : nodes_) {
    if (now < entry.until) next = std::min(next, entry.until);
  }
  return next;
}

std::uint32_t Refusals::most_in_a_row() const {
  std::uint32_t most = 0;
  for (const Entry& entry : nodes_) most = std::max(most, entry.in_a_row);
  return most;
}

}  // namespace ember
