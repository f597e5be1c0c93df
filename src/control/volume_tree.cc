#include "control/volume_tree.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/disk_error.h"

namespace ember {
namespace {

Error no_such(const std::string& path, std::string_view what) {
  return {ErrorCode::not_found, "the volume has no " + std::string(what) + " " +
                                    (path.empty() ? "." : path) +
                                    "; `ember volume ls` shows what it has"};
}

}  // namespace

std::optional<TreeNode> node_of(int directory, const std::string& name, const struct stat& status) {
  TreeNode node;
  node.name = name;
  node.inode = status.st_ino;
  node.modified_s = status.st_mtime;
  if (S_ISREG(status.st_mode)) {
    node.size_bytes = status.st_size;
    node.is_program = (status.st_mode & S_IXUSR) != 0;
  } else if (S_ISDIR(status.st_mode)) {
    node.kind = NodeKind::directory;
  } else if (S_ISLNK(status.st_mode)) {
    node.kind = NodeKind::link;
    node.target = read_link(directory, name);
  } else {
    return std::nullopt;
  }
  return node;
}

Result<VolumeTree> VolumeTree::open(int root, const LayerNames& layers) {
  VolumeTree tree;
  for (auto name = layers.rbegin(); name != layers.rend(); ++name) {
    Layer layer{*name, open_beneath(root, "layers/" + *name, O_PATH | O_DIRECTORY)};
    if (!layer.directory) return disk_error("layers/" + *name, errno);
    tree.layers_.push_back(std::move(layer));
  }
  return tree;
}

Result<std::optional<TreeNode>> VolumeTree::find(const std::string& path) const {
  std::optional<TreeNode> found;
  if (path.empty()) {
    found.emplace().kind = NodeKind::directory;
    for (std::size_t i = 0; i < layers_.size(); ++i) found->layers.push_back(i);
    return found;
  }
  const std::string parent = parent_of(path);
  const std::string name = parent.empty() ? path : path.substr(parent.size() + 1);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const UniqueFd here = open_beneath(layers_[i].directory.get(), path, O_PATH | O_NOFOLLOW);
    if (!here && errno == ENOENT) continue;
    // A file or a link stands where the path leads through a directory: it hides what is below.
    if (!here && (errno == ENOTDIR || errno == ELOOP)) return found;
    if (!here) return disk_error(join_path(layers_[i].name, path), errno);
    struct stat status {};
    if (::fstat(here.get(), &status) != 0) return disk_error(path, errno);
    if (found && !S_ISDIR(status.st_mode)) return found;
    if (!found) {
      const UniqueFd above = open_beneath(layers_[i].directory.get(), parent, O_PATH | O_DIRECTORY);
      found = node_of(above.get(), name, status);
      if (!found) return found;
    }
    found->layers.push_back(i);
    if (found->kind != NodeKind::directory) return found;
  }
  return found;
}

Result<std::vector<TreeNode>> VolumeTree::list(const std::string& path) const {
  auto node = find(path);
  if (!node) return std::move(node).error();
  if (!*node || (*node)->kind != NodeKind::directory) return no_such(path, "directory");
  return list_layers(path, (*node)->layers);
}

// A name's first sight, from the top, decides; further directories of that name join one.
Result<std::vector<TreeNode>> VolumeTree::list_layers(
    const std::string& path, const std::vector<std::size_t>& layers) const {
  struct Seen {
    std::optional<TreeNode> node;
    bool closed = false;  // nothing below joins it
  };
  std::map<std::string, Seen> all;
  for (const std::size_t i : layers) {
    const int root = layers_[i].directory.get();
    const UniqueFd here = open_beneath(root, path, O_PATH | O_DIRECTORY);
    auto entries = entries_of(open_to_list(root, path), join_path(layers_[i].name, path));
    if (!entries) return std::move(entries).error();
    for (const DirectoryEntry& entry : *entries) {
      Seen& seen = all[entry.name];
      if (seen.closed) continue;
      struct stat status {};
      if (::fstatat(here.get(), entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return disk_error(join_path(path, entry.name), errno);
      }
      const bool is_directory = S_ISDIR(status.st_mode);
      if (!seen.node) seen.node = node_of(here.get(), entry.name, status);
      if (is_directory && seen.node) seen.node->layers.push_back(i);
      if (!is_directory && seen.node && seen.node->layers.empty()) seen.node->layers.push_back(i);
      seen.closed = !is_directory;
    }
  }
  std::vector<TreeNode> nodes;
  for (auto& [name, seen] : all) {
    if (seen.node) nodes.push_back(*std::move(seen.node));
  }
  return nodes;
}

Result<UniqueFd> VolumeTree::open_file(const std::string& path) const {
  auto node = find(path);
  if (!node) return std::move(node).error();
  if (!*node || (*node)->kind != NodeKind::file) return no_such(path, "file");
  UniqueFd file =
      open_beneath(layers_[(*node)->layers.front()].directory.get(), path, O_RDONLY | O_NOFOLLOW);
  if (!file) return disk_error(path, errno);
  return file;
}

Result<> VolumeTree::walk(const std::string& path, const Visit& visit) const {
  auto node = find(path);
  if (!node) return std::move(node).error();
  if (!*node || (*node)->kind != NodeKind::directory) return no_such(path, "directory");
  auto walked = walk_node(path, **node, visit);
  return walked ? Result<>(Ok{}) : Result<>(std::move(walked).error());
}

Result<VolumeTree::Next> VolumeTree::walk_node(const std::string& path, const TreeNode& node,
                                               const Visit& visit) const {
  auto inside = list_layers(path, node.layers);
  if (!inside) return std::move(inside).error();
  for (const TreeNode& one : *inside) {
    const std::string here = join_path(path, one.name);
    auto next = visit(here, one);
    if (!next || *next == Next::stop) return next;
    if (one.kind != NodeKind::directory) continue;
    next = walk_node(here, one, visit);
    if (!next || *next == Next::stop) return next;
  }
  return Next::go_on;
}

Result<TreeTotals> VolumeTree::totals(const std::string& path) const {
  TreeTotals totals;
  const auto add = [&](const std::string&, const TreeNode& node) -> Result<Next> {
    if (node.kind != NodeKind::directory) ++totals.files;
    totals.bytes += node.size_bytes;
    return Next::go_on;
  };
  auto node = find(path);
  if (!node) return std::move(node).error();
  if (!*node) return totals;
  if ((*node)->kind != NodeKind::directory) {
    auto added = add(path, **node);
    if (!added) return std::move(added).error();
    return totals;
  }
  auto walked = walk(path, add);
  if (!walked) return std::move(walked).error();
  return totals;
}

}  // namespace ember
