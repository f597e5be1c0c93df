// What containers on the machine's own /usr have for their root: an almost empty tree, made once,
// with the mount points in place (a container's user may make none) and a small /etc of its own.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "node/built_image.h"
#include "node/node_options.h"

namespace ember {

inline constexpr std::size_t kMaxLayers = 32;

// The path of the tree, <node_directory>/rootfs/<digest of what is in it>: made unless it is there.
// Never changed afterwards, since containers of an earlier life of the node may stand on it, and a
// mount point that is removed takes the mount with it. `name_server` goes into resolv.conf; empty:
// the machine's own file.
Result<std::string> make_root_filesystem(const std::string& node_directory,
                                         const std::vector<PythonDirectory>& python,
                                         const std::string& name_server);

// The same for what lies over an image with a root of its own: mount points, names of hosts.
Result<std::string> make_mount_points(const std::string& node_directory,
                                      const std::vector<PythonDirectory>& python,
                                      const std::string& name_server);

// The directories that make up the root of a container of the image, the lowest first.
std::vector<std::string> root_directories(const BuiltImage& image, const std::string& rootfs,
                                          const std::string& mount_points);

}  // namespace ember
