#include "control/volume_layer.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "base/disk_error.h"

namespace ember {
namespace {

constexpr std::int64_t kSyncedOneByOne = 64;  // more are worth one request for the whole disk

std::string last_part(const std::string& path) {
  const std::string parent = parent_of(path);
  return parent.empty() ? path : path.substr(parent.size() + 1);
}

bool is_in_the_way(int error_number) { return error_number == ENOTDIR || error_number == ELOOP; }

}  // namespace

LayerBuilder::~LayerBuilder() {
  if (!name_.empty()) remove_tree(blobs_.root(), name_);
}

std::string LayerBuilder::shown(const std::string& path) const {
  return blobs_.path() + "/" + join_path(name_, path);
}

Result<> LayerBuilder::begin() {
  if (directory_) return Ok{};
  name_ = blobs_.temporary_name();
  if (::mkdirat(blobs_.root(), name_.c_str(), kVolumeDirectoryMode) != 0) {
    return disk_error(shown(""), errno);
  }
  directory_ = open_beneath(blobs_.root(), name_, O_RDONLY | O_DIRECTORY);
  return directory_ ? Result<>(Ok{}) : Result<>(disk_error(shown(""), errno));
}

// Whether this layer says something of the path: has an entry there, or hides it.
Result<bool> LayerBuilder::is_touched(const std::string& path) const {
  if (!directory_) return false;
  if (open_beneath(directory_.get(), path, O_PATH | O_NOFOLLOW)) return true;
  if (errno == ENOENT) return false;
  if (is_in_the_way(errno)) return true;
  return disk_error(shown(path), errno);
}

// Whether something of this layer stands where the path leads through a directory.
Result<bool> LayerBuilder::is_hidden(const std::string& path) const {
  if (!directory_ || open_beneath(directory_.get(), parent_of(path), O_PATH | O_DIRECTORY)) {
    return false;
  }
  return is_in_the_way(errno);
}

Result<UniqueFd> LayerBuilder::make_parent(const std::string& path) {
  if (auto begun = begin(); !begun) return std::move(begun).error();
  const std::string parent = parent_of(path);
  if (auto made = make_directory(parent); !made) return std::move(made).error();
  UniqueFd directory = open_beneath(directory_.get(), parent, O_RDONLY | O_DIRECTORY);
  if (!directory) return disk_error(shown(parent), errno);
  return directory;
}

// What this layer has hidden before stays hidden, one by one.
Result<> LayerBuilder::make_directory(const std::string& path) {
  if (path.empty() || open_beneath(directory_.get(), path, O_PATH | O_DIRECTORY)) return Ok{};
  auto parent = make_parent(path);
  if (!parent) return std::move(parent).error();
  const std::string name = last_part(path);
  const bool replaces = ::unlinkat(parent->get(), name.c_str(), 0) == 0;
  if (::mkdirat(parent->get(), name.c_str(), kVolumeDirectoryMode) != 0) {
    return disk_error(shown(path), errno);
  }
  if (!replaces) return Ok{};
  auto hidden = below_.find(path);
  if (!hidden) return std::move(hidden).error();
  if (!*hidden || (*hidden)->kind != NodeKind::directory) return Ok{};
  auto children = below_.list(path);
  if (!children) return std::move(children).error();
  const UniqueFd here = open_beneath(parent->get(), name, O_RDONLY | O_DIRECTORY);
  for (const TreeNode& child : *children) {
    if (auto done = hide(here.get(), join_path(path, child.name)); !done) return done;
  }
  return Ok{};
}

Result<> LayerBuilder::hide(int directory, const std::string& path) {
  const std::string name = last_part(path);
  if (::mknodat(directory, name.c_str(), S_IFCHR | 0600, makedev(0, 0)) == 0) return Ok{};
  return disk_error(shown(path), errno);
}

// Makes room for another entry of that name.
Result<> LayerBuilder::clear(int directory, const std::string& path) {
  remove_tree(directory, last_part(path));
  return Ok{};
}

Result<> LayerBuilder::put_file(const std::string& path, const StoredFile& file) {
  auto touched = is_touched(path);
  if (!touched) return std::move(touched).error();
  if (!*touched) {
    auto node = below_.find(path);
    if (!node) return std::move(node).error();
    const bool same_kind = *node && (*node)->kind == NodeKind::file &&
                           (*node)->is_program == (file.kind == FileKind::program);
    if (same_kind &&
        ((*node)->inode == file.inode || ((*node)->size_bytes == 0 && file.size_bytes == 0))) {
      return Ok{};
    }
  }
  auto parent = make_parent(path);
  if (!parent) return std::move(parent).error();
  if (auto room = clear(parent->get(), path); !room) return room;
  return blobs_.link(file, parent->get(), last_part(path));
}

Result<> LayerBuilder::put_link(const std::string& path, const std::string& target) {
  auto touched = is_touched(path);
  if (!touched) return std::move(touched).error();
  if (!*touched) {
    auto node = below_.find(path);
    if (!node) return std::move(node).error();
    if (*node && (*node)->kind == NodeKind::link && (*node)->target == target) return Ok{};
  }
  auto parent = make_parent(path);
  if (!parent) return std::move(parent).error();
  if (auto room = clear(parent->get(), path); !room) return room;
  if (::symlinkat(target.c_str(), parent->get(), last_part(path).c_str()) == 0) return Ok{};
  return disk_error(shown(path), errno);
}

Result<> LayerBuilder::put_directory(const std::string& path) {
  auto touched = is_touched(path);
  if (!touched) return std::move(touched).error();
  if (!*touched) {
    auto node = below_.find(path);
    if (!node) return std::move(node).error();
    if (*node && (*node)->kind == NodeKind::directory) return Ok{};
  }
  if (auto begun = begin(); !begun) return begun;
  return make_directory(path);
}

Result<> LayerBuilder::remove(const std::string& path) {
  auto hidden = is_hidden(path);
  if (!hidden) return std::move(hidden).error();
  if (*hidden) return Ok{};
  struct stat status {};
  const bool has_entry = directory_ && [&] {
    const UniqueFd entry = open_beneath(directory_.get(), path, O_PATH | O_NOFOLLOW);
    return entry && ::fstat(entry.get(), &status) == 0;
  }();
  if (has_entry && is_whiteout(status)) return Ok{};
  if (has_entry) remove_tree(directory_.get(), path);
  auto node = below_.find(path);
  if (!node) return std::move(node).error();
  if (!*node) return Ok{};
  auto parent = make_parent(path);
  if (!parent) return std::move(parent).error();
  return hide(parent->get(), path);
}

Result<> LayerBuilder::copy(const std::string& from, const std::string& to) {
  auto node = below_.find(from);
  if (!node) return std::move(node).error();
  if (!*node) {
    return {ErrorCode::not_found,
            "the volume has no " + from + "; `ember volume ls` shows what it has"};
  }
  if ((*node)->kind != NodeKind::directory) return link_from_below(from, **node, to);
  if (auto made = put_directory(to); !made) return made;
  return below_.walk(
      from, [&](const std::string& path, const TreeNode& inside) -> Result<VolumeTree::Next> {
        const std::string target = to + path.substr(from.size());
        if (auto fine = check_volume_path(target); !fine) return std::move(fine).error();
        auto done = inside.kind == NodeKind::directory ? put_directory(target)
                                                       : link_from_below(path, inside, target);
        if (!done) return std::move(done).error();
        return VolumeTree::Next::go_on;
      });
}

Result<> LayerBuilder::link_from_below(const std::string& from, const TreeNode& node,
                                       const std::string& to) {
  if (node.kind == NodeKind::link) return put_link(to, node.target);
  auto file = below_.open_file(from);
  if (!file) return std::move(file).error();
  auto parent = make_parent(to);
  if (!parent) return std::move(parent).error();
  if (auto room = clear(parent->get(), to); !room) return room;
  const std::string name = last_part(to);
  const std::string source = "/proc/self/fd/" + std::to_string(file->get());
  if (::linkat(AT_FDCWD, source.c_str(), parent->get(), name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
    return Ok{};
  }
  if (errno != EMLINK) return disk_error(shown(to), errno);
  const mode_t mode = node.is_program ? kVolumeProgramMode : kVolumeFileMode;
  const UniqueFd copy = open_beneath(parent->get(), name, O_WRONLY | O_CREAT | O_EXCL, mode);
  if (!copy || ::fchmod(copy.get(), mode) != 0) return disk_error(shown(to), errno);
  return copy_file(file->get(), copy.get(), shown(to));
}

Result<LayerBuilder::Change> LayerBuilder::measure() const {
  Change change;
  if (!directory_) return change;
  if (auto measured = measure_directory("", change); !measured) return std::move(measured).error();
  return change;
}

Result<> LayerBuilder::measure_directory(const std::string& path, Change& change) const {
  const UniqueFd here = open_beneath(directory_.get(), path, O_PATH | O_DIRECTORY);
  auto entries = entries_of(open_to_list(directory_.get(), path), shown(path));
  if (!entries) return std::move(entries).error();
  for (const DirectoryEntry& entry : *entries) {
    const std::string one = join_path(path, entry.name);
    struct stat status {};
    if (::fstatat(here.get(), entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return disk_error(shown(one), errno);
    }
    auto before = below_.find(one);
    if (!before) return std::move(before).error();
    const bool was_directory = *before && (*before)->kind == NodeKind::directory;
    if (S_ISDIR(status.st_mode)) {
      if (!was_directory) ++change.entries;
      if (*before && !was_directory) {
        --change.totals.files;
        change.totals.bytes -= (*before)->size_bytes;
      }
      if (auto inside = measure_directory(one, change); !inside) return inside;
      continue;
    }
    ++change.entries;
    auto gone = below_.totals(one);
    if (!gone) return std::move(gone).error();
    const auto came = node_of(here.get(), entry.name, status);
    change.totals.files += (came ? 1 : 0) - gone->files;
    change.totals.bytes += (came ? came->size_bytes : 0) - gone->bytes;
  }
  return Ok{};
}

Result<> LayerBuilder::publish(const std::string& layer_name) {
  if (auto begun = begin(); !begun) return begun;
  auto change = measure();
  if (!change) return std::move(change).error();
  auto synced = change->entries > kSyncedOneByOne ? sync_file_system(blobs_.root(), shown(""))
                                                  : sync_tree("");
  if (!synced) return synced;
  const std::string place = "layers/" + layer_name;
  if (::renameat(blobs_.root(), name_.c_str(), blobs_.root(), place.c_str()) != 0) {
    return disk_error(shown(""), errno);
  }
  name_.clear();
  const UniqueFd layers = open_to_list(blobs_.root(), "layers");
  return sync_file(layers.get(), blobs_.path() + "/layers");
}

Result<> LayerBuilder::sync_tree(const std::string& path) {
  UniqueFd here = open_to_list(directory_.get(), path);
  const UniqueFd directory(::fcntl(here.get(), F_DUPFD_CLOEXEC, 0));
  auto entries = entries_of(std::move(here), shown(path));
  if (!entries) return std::move(entries).error();
  for (const DirectoryEntry& entry : *entries) {
    const std::string one = join_path(path, entry.name);
    if (entry.type == DT_DIR) {
      if (auto inside = sync_tree(one); !inside) return inside;
    } else if (entry.type == DT_REG) {
      const UniqueFd file = open_beneath(directory_.get(), one, O_RDONLY | O_NOFOLLOW);
      if (!file) return disk_error(shown(one), errno);
      if (auto synced = sync_file(file.get(), shown(one)); !synced) return synced;
    }
  }
  return sync_file(directory.get(), shown(path));
}

}  // namespace ember
