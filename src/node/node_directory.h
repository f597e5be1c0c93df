// The node's own part of the data directory, <data>/node:
//
//   node_id        made once, kept
//   node.sock      where the driver connects; gone once the node has ended in order
//   last_seen      touched while the node lives: what it cannot have seen ended no later
//   packages/      python_packages.h
//   python/        the packages under their names, for runners outside containers
//   containers/    container_files.h
//   layers/        image_store.h
//   rootfs/        root_filesystem.h
//   crun/          crun's own state
//   networks/      namespaces held by a mount each, firewall.nft (veth_networks.h)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/ids.h"
#include "node/node_options.h"

namespace ember {

struct NodeDirectory {
  std::string path;  // absolute
  NodeId node;
  std::vector<PythonDirectory> python;  // the packages of the options, copied and compiled

  std::string socket_path() const { return path + "/node.sock"; }
  std::string python_path() const { return path + "/python"; }
  std::optional<Time> last_seen() const;
  void touch_last_seen() const;
  // Whether the files of one more container find room.
  bool has_room() const;
};

Result<NodeDirectory> open_node_directory(const NodeOptions& options);

}  // namespace ember
