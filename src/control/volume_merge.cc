#include "control/volume_merge.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "base/disk_error.h"

namespace ember {
namespace {

constexpr std::size_t kMaxDepth = 16;
constexpr std::size_t kMergedAtLeast = 8;

class Merger {
 public:
  Merger(const VolumeTree& below, std::vector<UniqueFd> layers, UniqueFd into)
      : below_(below), layers_(std::move(layers)), into_(std::move(into)) {}

  // `layers` are those that have the directory, the topmost first. `hide`: what lies below all of
  // them is not to be seen through it.
  enum class Below { shows, is_hidden };
  Result<> merge(const std::string& path, const std::vector<std::size_t>& layers, Below below) {
    const UniqueFd into = open_beneath(into_.get(), path, O_RDONLY | O_DIRECTORY);
    if (!into) return disk_error(path, errno);
    auto names = names_of(path, layers);
    if (!names) return std::move(names).error();
    for (const auto& [name, one] : *names) {
      if (auto done = merge_one(into.get(), path, name, one, below); !done) return done;
    }
    return below == Below::is_hidden ? hide_rest(into.get(), path, *names) : Result<>(Ok{});
  }

 private:
  struct Entry {
    mode_t mode = 0;
    bool is_whiteout = false;
    std::vector<std::size_t> layers;  // that have it: one, or all whose directory it is
    bool closed = false;
    Below below = Below::shows;  // through a directory
  };
  using Names = std::map<std::string, Entry>;

  Result<Names> names_of(const std::string& path, const std::vector<std::size_t>& layers) {
    Names names;
    for (const std::size_t i : layers) {
      const UniqueFd here = open_beneath(layers_[i].get(), path, O_PATH | O_DIRECTORY);
      auto entries = entries_of(open_to_list(layers_[i].get(), path), path);
      if (!entries) return std::move(entries).error();
      for (const DirectoryEntry& entry : *entries) {
        struct stat status {};
        if (::fstatat(here.get(), entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
          return disk_error(join_path(path, entry.name), errno);
        }
        note(names[entry.name], status, i);
      }
    }
    return names;
  }

  static void note(Entry& entry, const struct stat& status, std::size_t layer) {
    if (entry.closed) return;
    const bool is_first = entry.layers.empty();
    if (is_first) {
      entry.mode = status.st_mode;
      entry.is_whiteout = is_whiteout(status);
    }
    if (S_ISDIR(status.st_mode) || is_first) entry.layers.push_back(layer);
    entry.closed = !S_ISDIR(status.st_mode);
    if (entry.closed && !is_first) entry.below = Below::is_hidden;
  }

  Result<> merge_one(int into, const std::string& path, const std::string& name, const Entry& entry,
                     Below below) {
    const std::string here = join_path(path, name);
    if (entry.is_whiteout) return hide(into, name, here);
    if (S_ISDIR(entry.mode)) {
      if (::mkdirat(into, name.c_str(), kVolumeDirectoryMode) != 0) return disk_error(here, errno);
      return merge(here, entry.layers, below == Below::is_hidden ? below : entry.below);
    }
    const UniqueFd from =
        open_beneath(layers_[entry.layers.front()].get(), path, O_PATH | O_DIRECTORY);
    if (::linkat(from.get(), name.c_str(), into, name.c_str(), 0) == 0) return Ok{};
    if (errno != EMLINK) return disk_error(here, errno);
    const UniqueFd file = open_beneath(from.get(), name, O_RDONLY | O_NOFOLLOW);
    const UniqueFd copy = open_beneath(into, name, O_WRONLY | O_CREAT | O_EXCL, entry.mode & 0777);
    if (!file || !copy || ::fchmod(copy.get(), entry.mode & 0777) != 0) {
      return disk_error(here, errno);
    }
    return copy_file(file.get(), copy.get(), here);
  }

  // Where there is nothing below there is nothing to hide.
  Result<> hide(int into, const std::string& name, const std::string& path) {
    auto node = below_.find(path);
    if (!node) return std::move(node).error();
    if (!*node || ::mknodat(into, name.c_str(), S_IFCHR | 0600, makedev(0, 0)) == 0) return Ok{};
    return disk_error(path, errno);
  }

  Result<> hide_rest(int into, const std::string& path, const Names& names) {
    auto node = below_.find(path);
    if (!node) return std::move(node).error();
    if (!*node || (*node)->kind != NodeKind::directory) return Ok{};
    auto children = below_.list(path);
    if (!children) return std::move(children).error();
    for (const TreeNode& child : *children) {
      if (names.contains(child.name)) continue;
      if (auto done = hide(into, child.name, join_path(path, child.name)); !done) return done;
    }
    return Ok{};
  }

  const VolumeTree& below_;
  std::vector<UniqueFd> layers_;  // the topmost first
  UniqueFd into_;
};

}  // namespace

// Those at the top that together have about as many entries as the next one below: each entry is
// then linked anew only as often as the tree doubles.
MergePlan plan_merge(const std::vector<std::int64_t>& entries) {
  if (entries.size() <= kMaxDepth) return {entries.size()};
  std::size_t first = entries.size() - kMergedAtLeast;
  std::int64_t sum = 0;
  for (std::size_t i = first; i < entries.size(); ++i) sum += entries[i];
  while (first > 0 && entries[first - 1] <= sum) sum += entries[--first];
  return {first};
}

Result<> merge_layers(VolumeBlobs& blobs, const LayerNames& below, const LayerNames& merged,
                      const std::string& layer_name) {
  auto tree = VolumeTree::open(blobs.root(), below);
  if (!tree) return std::move(tree).error();
  std::vector<UniqueFd> layers;
  std::vector<std::size_t> all;
  for (auto name = merged.rbegin(); name != merged.rend(); ++name) {
    all.push_back(layers.size());
    layers.push_back(open_beneath(blobs.root(), "layers/" + *name, O_PATH | O_DIRECTORY));
    if (!layers.back()) return disk_error("layers/" + *name, errno);
  }
  const std::string name = blobs.temporary_name();
  if (::mkdirat(blobs.root(), name.c_str(), kVolumeDirectoryMode) != 0) {
    return disk_error(name, errno);
  }
  UniqueFd into = open_beneath(blobs.root(), name, O_RDONLY | O_DIRECTORY);
  Merger merger(*tree, std::move(layers), std::move(into));
  auto done = merger.merge("", all, Merger::Below::shows);
  if (done) done = sync_file_system(blobs.root(), name);
  if (done &&
      ::renameat(blobs.root(), name.c_str(), blobs.root(), ("layers/" + layer_name).c_str()) != 0) {
    done = disk_error(name, errno);
  }
  if (!done) remove_tree(blobs.root(), name);
  if (!done) return done;
  const UniqueFd parent = open_to_list(blobs.root(), "layers");
  return sync_file(parent.get(), "layers");
}

Result<std::int64_t> count_entries(int root, const std::string& layer_name, std::int64_t at_most) {
  std::int64_t entries = 0;
  std::vector<std::string> directories{"layers/" + layer_name};
  while (!directories.empty() && entries < at_most) {
    const std::string path = std::move(directories.back());
    directories.pop_back();
    auto found = entries_of(open_to_list(root, path), path);
    if (!found) return std::move(found).error();
    for (const DirectoryEntry& entry : *found) {
      ++entries;
      if (entry.type == DT_DIR) directories.push_back(path + "/" + entry.name);
    }
  }
  return entries;
}

}  // namespace ember
