#include "control/volume_upper.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/disk_error.h"

namespace ember {
namespace {

constexpr int kTries = 3;  // of a file that is being written
constexpr std::int64_t kQuietNs = 1'000'000'000;
constexpr const char* kOpaque = "user.overlay.opaque";

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return nanoseconds(now);
}

// A directory that stands in the place of one below, of which nothing is seen through it.
bool is_opaque(int directory) {
  char value = 0;
  return ::fgetxattr(directory, kOpaque, &value, 1) == 1 && value == 'y';
}

// Beneath the directory and through no link, whatever the container puts in the way meanwhile. What
// it has closed even to itself is ours on disk.
UniqueFd open_at(int directory, const std::string& path, int flags, mode_t added) {
  UniqueFd opened = open_beneath(directory, path, flags | O_NOFOLLOW | O_NONBLOCK);
  if (opened || errno != EACCES) return opened;
  const std::string parent = parent_of(path);
  const std::string name = parent.empty() ? path : path.substr(parent.size() + 1);
  const UniqueFd above = open_beneath(directory, parent, O_PATH | O_DIRECTORY);
  struct stat status {};
  if (!above || ::fstatat(above.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
      S_ISLNK(status.st_mode) ||
      ::fchmodat(above.get(), name.c_str(), (status.st_mode & 0777) | added, 0) != 0) {
    errno = EACCES;
    return {};
  }
  return open_beneath(directory, path, flags | O_NOFOLLOW | O_NONBLOCK);
}

template <class Number>
void append(std::string& bytes, Number number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

template <class Number>
bool take(std::string_view& bytes, Number& number) {
  if (bytes.size() < sizeof number) return false;
  std::memcpy(&number, bytes.data(), sizeof number);
  bytes.remove_prefix(sizeof number);
  return true;
}

bool take_text(std::string_view& bytes, std::string& text) {
  std::uint32_t length = 0;
  if (!take(bytes, length) || bytes.size() < length) return false;
  text = bytes.substr(0, length);
  bytes.remove_prefix(length);
  return true;
}

void append_text(std::string& bytes, const std::string& text) {
  append(bytes, static_cast<std::uint32_t>(text.size()));
  bytes += text;
}

}  // namespace

VolumeUpper::VolumeUpper(VolumeBlobs& blobs, std::string path, LayerNames base,
                         std::string sub_path)
    : blobs_(blobs),
      path_(std::move(path)),
      base_layers_(std::move(base)),
      sub_path_(std::move(sub_path)) {}

std::string VolumeUpper::in_volume(const std::string& path) const {
  return join_path(sub_path_, path);
}

Result<bool> VolumeUpper::look(UpperLook how) {
  how_ = how;
  if (!has_read_) {
    if (auto read = read_taken(); !read) return std::move(read).error();
    has_read_ = true;
  }
  auto base = VolumeTree::open(blobs_.root(), base_layers_);
  if (!base) return std::move(base).error();
  base_ = std::move(*base);
  files_ = open_to_list(blobs_.root(), path_ + "/files");
  if (!files_) return disk_error(path_, errno);
  seen_.clear();
  changes_.clear();
  auto walked = walk("", Below::shows);
  files_.reset();
  if (!walked) {
    base_.reset();
    return std::move(walked).error();
  }
  note_deleted();
  return !changes_.empty();
}

bool VolumeUpper::is_known(const std::string& path, const Entry& entry) {
  seen_.insert(path);
  const auto found = taken_.find(path);
  return found != taken_.end() && found->second == entry;
}

Result<> VolumeUpper::walk(const std::string& path, Below below) {
  UniqueFd here = path.empty() ? open_to_list(files_.get(), "")
                               : open_at(files_.get(), path, O_RDONLY | O_DIRECTORY, 0700);
  // It has gone just now, or something else is there.
  if (!here && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) return Ok{};
  if (!here) return disk_error(path_ + "/files/" + path, errno);
  if (!path.empty() && is_opaque(here.get())) below = Below::is_hidden;
  const UniqueFd directory(::fcntl(here.get(), F_DUPFD_CLOEXEC, 0));
  auto entries = entries_of(std::move(here), path);
  if (!entries) return std::move(entries).error();
  for (const DirectoryEntry& entry : *entries) {
    auto noted = note_entry(directory.get(), path, entry.name, below);
    if (!noted) return noted;
  }
  return below == Below::is_hidden ? hide_rest(path, *entries) : Result<>(Ok{});
}

Result<> VolumeUpper::note_entry(int directory, const std::string& path, const std::string& name,
                                 Below below) {
  const std::string here = join_path(path, name);
  struct stat status {};
  if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? Result<>(Ok{}) : Result<>(disk_error(here, errno));
  }
  if (!check_volume_path(in_volume(here))) return Ok{};  // too long for a volume
  Entry entry;
  if (S_ISDIR(status.st_mode)) {
    entry.kind = Kind::directory;
    if (!is_known(here, entry)) changes_.push_back({here, entry, {}});
    return walk(here, below);
  }
  if (S_ISREG(status.st_mode)) return note_file(directory, here, name, status);
  if (is_whiteout(status)) {
    entry.kind = Kind::deleted;
  } else if (S_ISLNK(status.st_mode)) {
    entry.kind = Kind::link;
    entry.target = read_link(directory, name);
  } else {
    return Ok{};  // sockets and pipes do not outlive their container
  }
  if (!is_known(here, entry)) changes_.push_back({here, entry, {}});
  return Ok{};
}

Result<> VolumeUpper::note_file(int directory, const std::string& path, const std::string& name,
                                const struct stat& status) {
  const auto entry_of = [](const struct stat& of) {
    Entry entry;
    entry.size = of.st_size;
    entry.modified_ns = nanoseconds(of.st_mtim);
    entry.changed_ns = nanoseconds(of.st_ctim);
    entry.inode = of.st_ino;
    return entry;
  };
  struct stat before = status;
  if (is_known(path, entry_of(before))) return Ok{};
  const bool leave_busy = how_ == UpperLook::now_and_then;
  if (leave_busy && now_ns() - nanoseconds(before.st_mtim) < kQuietNs) return Ok{};
  const UniqueFd file = open_at(directory, name, O_RDONLY, 0400);
  if (!file && (errno == ENOENT || errno == ELOOP || errno == ENXIO)) return Ok{};
  if (!file) return disk_error(path, errno);
  const Take take = how_ == UpperLook::at_the_end ? Take::link : Take::copy;
  for (int tries = 1;; ++tries) {
    if (::fstat(file.get(), &before) != 0) return disk_error(path, errno);
    if (!S_ISREG(before.st_mode)) return Ok{};  // something else by now
    const FileKind kind = (before.st_mode & S_IXUSR) != 0 ? FileKind::program : FileKind::plain;
    auto stored = blobs_.take(file.get(), directory, name, kind, take);
    if (!stored) return std::move(stored).error();
    struct stat after {};
    if (::fstat(file.get(), &after) != 0) return disk_error(path, errno);
    const bool is_quiet = before.st_size == after.st_size &&
                          nanoseconds(before.st_mtim) == nanoseconds(after.st_mtim);
    if (!is_quiet && leave_busy) return Ok{};
    if (!is_quiet && tries < kTries) continue;
    changes_.push_back({path, entry_of(before), *stored});
    return Ok{};
  }
}

// What the container does not see any more of what lies below.
Result<> VolumeUpper::hide_rest(const std::string& path,
                                const std::vector<DirectoryEntry>& entries) {
  auto node = base_->find(in_volume(path));
  if (!node) return std::move(node).error();
  if (!*node || (*node)->kind != NodeKind::directory) return Ok{};
  auto children = base_->list(in_volume(path));
  if (!children) return std::move(children).error();
  for (const TreeNode& child : *children) {
    if (std::ranges::binary_search(entries, child.name, {}, &DirectoryEntry::name)) continue;
    const std::string here = join_path(path, child.name);
    Entry entry;
    entry.kind = Kind::deleted;
    if (!is_known(here, entry)) changes_.push_back({here, entry, {}});
  }
  return Ok{};
}

// What was taken and is not there any more has been deleted since.
void VolumeUpper::note_deleted() {
  Entry gone;
  gone.kind = Kind::deleted;
  for (auto one = taken_.begin(); one != taken_.end();) {
    if (seen_.contains(one->first)) {
      ++one;
    } else if (one->second.kind == Kind::deleted) {
      one = taken_.erase(one);
    } else {
      changes_.push_back({one->first, gone, {}});
      ++one;
    }
  }
}

// --- into the volume --------------------------------------------------------------------------

Result<> VolumeUpper::apply(LayerBuilder& builder) const {
  // Deletions first: a name that has come anew stays.
  for (const Change& change : changes_) {
    if (change.entry.kind != Kind::deleted) continue;
    if (auto done = remove(builder, change.path); !done) return done;
  }
  for (const Change& change : changes_) {
    const std::string path = in_volume(change.path);
    Result<> done = Ok{};
    if (change.entry.kind == Kind::file) done = builder.put_file(path, change.file);
    if (change.entry.kind == Kind::link) done = builder.put_link(path, change.entry.target);
    if (change.entry.kind == Kind::directory) done = builder.put_directory(path);
    if (!done) return done;
  }
  return Ok{};
}

Result<> VolumeUpper::remove(LayerBuilder& builder, const std::string& path) const {
  std::vector<std::string> gone;
  auto all = remove_known(builder, in_volume(path), gone);
  if (!all) return std::move(all).error();
  if (*all) gone = {in_volume(path)};
  for (const std::string& one : gone) {
    if (auto done = builder.remove(one); !done) return done;
  }
  return Ok{};
}

// Whether the container knew all that the newest version has there; else `gone` is what it knew.
// What others have put there meanwhile stays.
Result<bool> VolumeUpper::remove_known(LayerBuilder& builder, const std::string& path,
                                       std::vector<std::string>& gone) const {
  auto node = builder.below().find(path);
  if (!node) return std::move(node).error();
  if (!*node) return true;
  if ((*node)->kind != NodeKind::directory) {
    gone.push_back(path);
    return true;
  }
  auto children = builder.below().list(path);
  if (!children) return std::move(children).error();
  bool all = true;
  for (const TreeNode& child : *children) {
    const std::string here = join_path(path, child.name);
    auto known = base_->find(here);
    if (!known) return std::move(known).error();
    const std::string own = sub_path_.empty() ? here : here.substr(sub_path_.size() + 1);
    if (!*known && !taken_.contains(own)) {
      all = false;
      continue;
    }
    std::vector<std::string> below;
    auto whole = remove_known(builder, here, below);
    if (!whole) return whole;
    if (*whole) below = {here};
    all = all && *whole;
    gone.insert(gone.end(), below.begin(), below.end());
  }
  return all;
}

// --- what has been taken ----------------------------------------------------------------------

// Appended to the file; what a crash loses of it is taken once more, which changes nothing.
void VolumeUpper::settle() {
  std::string lines;
  for (Change& change : changes_) {
    append_text(lines, change.path);
    const Entry& entry = change.entry;
    append(lines, entry.kind);
    for (const std::int64_t number : {entry.size, entry.modified_ns, entry.changed_ns}) {
      append(lines, number);
    }
    append(lines, entry.inode);
    append_text(lines, entry.target);
    if (entry.kind == Kind::deleted && !seen_.contains(change.path)) {
      taken_.erase(change.path);
    } else {
      taken_[change.path] = std::move(change.entry);
    }
  }
  changes_.clear();
  base_.reset();
  const UniqueFd file =
      open_beneath(blobs_.root(), path_ + "/taken", O_WRONLY | O_CREAT | O_APPEND, 0600);
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) return;
  if (write_whole(file.get(), lines, status.st_size, path_)) return;
  [[maybe_unused]] const int cut = ::ftruncate(file.get(), status.st_size);
}

Result<> VolumeUpper::read_taken() {
  const UniqueFd file = open_beneath(blobs_.root(), path_ + "/taken", O_RDONLY);
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) return Ok{};
  auto text = read_range(file.get(), 0, static_cast<std::size_t>(status.st_size), path_);
  if (!text) return std::move(text).error();
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string path;
    Entry entry;
    if (!take_text(rest, path) || !take(rest, entry.kind) || !take(rest, entry.size) ||
        !take(rest, entry.modified_ns) || !take(rest, entry.changed_ns) ||
        !take(rest, entry.inode) || !take_text(rest, entry.target)) {
      return Ok{};  // torn by a crash
    }
    taken_[path] = std::move(entry);
  }
  return Ok{};
}

}  // namespace ember
