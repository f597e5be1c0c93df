// One version of a volume as a tree: layers over each other, as an overlay shows them. A file is
// that of the topmost layer that has it; a layer's whiteout hides what is below it; directories of
// one name are one. Layers never change, so a tree may be read by several at once.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "control/volume_disk.h"

namespace ember {

using LayerNames = std::vector<std::string>;  // the lowest first

enum class NodeKind : std::uint8_t { file, directory, link };

struct TreeNode {
  std::string name;  // the last part of its path
  NodeKind kind = NodeKind::file;
  std::int64_t size_bytes = 0;
  bool is_program = false;
  ino_t inode = 0;
  std::int64_t modified_s = 0;
  std::string target;  // of a link
  // Where it stands; for a directory the topmost of those that are one. Indexes, from the top.
  std::vector<std::size_t> layers;
};

struct TreeTotals {
  std::int64_t files = 0, bytes = 0;
};

// What is no file, directory or link does not exist here.
class VolumeTree {
 public:
  // `root` holds the layers' directories under "layers", and is borrowed.
  static Result<VolumeTree> open(int root, const LayerNames& layers);

  std::size_t depth() const { return layers_.size(); }

  // "" is the root. Nothing where there is none; a path never leads through a link.
  Result<std::optional<TreeNode>> find(const std::string& path) const;
  // By name. Not found where there is no such directory.
  Result<std::vector<TreeNode>> list(const std::string& path) const;
  Result<UniqueFd> open_file(const std::string& path) const;
  // All below it (not itself), depth first and by name, with paths from the root. Stops where told.
  enum class Next { go_on, stop };
  using Visit = std::function<Result<Next>(const std::string& path, const TreeNode& node)>;
  Result<> walk(const std::string& path, const Visit& visit) const;
  // Of a file, or of all the files of a directory.
  Result<TreeTotals> totals(const std::string& path) const;

 private:
  struct Layer {
    std::string name;
    UniqueFd directory;
  };
  Result<std::vector<TreeNode>> list_layers(const std::string& path,
                                            const std::vector<std::size_t>& layers) const;
  Result<Next> walk_node(const std::string& path, const TreeNode& node, const Visit& visit) const;

  std::vector<Layer> layers_;  // the topmost first
};

// Of an entry of a directory of one layer; nothing for a whiteout, or what volumes do not have.
std::optional<TreeNode> node_of(int directory, const std::string& name, const struct stat& status);

}  // namespace ember
