// The nodes that refused a pool's containers lately, and until when each is left alone. Others are
// tried first; a node that goes on refusing is asked less and less often.
#pragma once

#include <span>
#include <vector>

#include "base/time.h"
#include "model/ids.h"

namespace ember {

class Refusals {
 public:
  // The node refused: leave it alone for first_wait, doubled with each refusal in a row.
  void refused(NodeId node, Time now, Duration first_wait, Duration longest_wait);
  // The node took a container: all is well there.
  void accepted(NodeId node);

  bool empty() const { return nodes_.empty(); }
  // The nodes to leave alone at `now`, by id.
  std::vector<NodeId> avoid(Time now) const;
  // When the next of them may be asked again; Time::never() if none is left alone at `now`.
  Time next_retry(Time now) const;
  std::uint32_t most_in_a_row() const;

  struct Entry {
    NodeId node;
    std::uint32_t in_a_row = 0;
    Time until;
  };
  std::span<const Entry> entries() const { return nodes_; }  // by node

 private:
  std::vector<Entry> nodes_;
};

}  // namespace ember
