// What every container of this node has for its root: an almost empty tree, made once, with the
// mount points in place (a container's user may make none) and a small /etc of its own.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "node/node_options.h"

namespace ember {

inline constexpr std::size_t kMaxLayers = 16;

// The path of the tree, <node_directory>/rootfs/<digest of what is in it>: made unless it is there.
// Never changed afterwards, since containers of an earlier life of the node may stand on it, and a
// mount point that is removed takes the mount with it. `name_server` goes into resolv.conf; empty:
// the machine's own file.
Result<std::string> make_root_filesystem(const std::string& node_directory,
                                         const std::vector<PythonDirectory>& python,
                                         const std::string& name_server);

}  // namespace ember
