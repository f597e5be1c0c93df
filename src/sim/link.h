// The way between the driver and the nodes: each message comes in its time and, unless a fault
// strikes, in order on its channel. Delivery is at least once while the connection holds; a lost
// message is sent again, and those behind it on the channel wait, as on any stream with
// acknowledgements. While a node is cut off messages are held; when its connection is given up they
// are gone.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sim/agenda.h"
#include "sim/faults.h"
#include "sim/task.h"

namespace ember {

class Link {
 public:
  Link(Agenda<Task>& agenda, Faults& faults) : agenda_(agenda), faults_(faults) {}

  void to_node(NodeId node, NodeCommand command);
  void to_driver(NodeId node, NodeMessage message);

  // What meets a cut on its way waits for the mending.
  void hold(NodeId node, Task task) { ends_[node].held.push_back(std::move(task)); }
  void cut(NodeId node) { ends_[node].cut = true; }
  void mend(NodeId node);
  // A new connection: nothing of the old one arrives any more.
  void renew(NodeId node);
  bool is_cut(NodeId node) const;
  // Whether a message of that session may still be delivered.
  bool is_current(NodeId node, Session session) const;

 private:
  struct End {
    Session session = 1;
    bool cut = false;
    std::vector<Task> held;
    // The last delivery on each connection, either way. The node's own has container zero; each
    // runner has one of its own.
    std::unordered_map<ContainerId, Time, IdHash> last_to_node, last_to_driver;
  };

  void send(End& end, Time& last, Task task);

  Agenda<Task>& agenda_;
  Faults& faults_;
  std::map<NodeId, End> ends_;
};

}  // namespace ember
