#include "control/volume_blobs.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/disk_error.h"

namespace ember {
namespace {

constexpr std::size_t kMaxIncoming = 1000;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

std::string head_path(const std::string& first_chunk, std::int64_t size_bytes) {
  return "heads/" + first_chunk + "." + std::to_string(size_bytes);
}

mode_t mode_of(FileKind kind) {
  return kind == FileKind::program ? kVolumeProgramMode : kVolumeFileMode;
}

std::vector<Sha256> read_digests(std::string_view text) {
  std::vector<Sha256> digests(text.size() / sizeof(Sha256));
  if (!digests.empty()) std::memcpy(digests.data(), text.data(), text.size());
  return digests;
}

std::string_view as_text(const std::vector<Sha256>& digests) {
  return {reinterpret_cast<const char*>(digests.data()), digests.size() * sizeof(Sha256)};
}

Result<> check_id(const std::string& id) {
  if (is_sha256_hex(id)) return Ok{};
  return invalid("a file's id is 64 lower-case hex digits");
}

}  // namespace

std::size_t chunks_of(std::int64_t size_bytes) {
  return static_cast<std::size_t>((size_bytes + kChunkBytes - 1) / kChunkBytes);
}

std::string file_id(const std::vector<Sha256>& chunks) { return hex(sha256(as_text(chunks))); }

Result<> VolumeBlobs::prepare() {
  if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST) return disk_error(path_, errno);
  root_ = UniqueFd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root_) return disk_error(path_, errno);
  remove_tree(root(), "tmp");
  for (const char* name : {"blobs", "chunks", "heads", "incoming", "tmp"}) {
    if (auto made = make_directories(root(), name, shown(name)); !made) return made;
  }
  return Ok{};
}

std::string VolumeBlobs::temporary_name() {
  return "tmp/" + std::to_string(next_temporary_.fetch_add(1));
}

std::string VolumeBlobs::blob_path(const std::string& id, FileKind kind) const {
  return "blobs/" + id.substr(0, 2) + "/" + id.substr(2) + (kind == FileKind::program ? ".x" : "");
}

Result<StoredFile> VolumeBlobs::status_of(const std::string& id, FileKind kind) {
  struct stat status {};
  const std::string name = blob_path(id, kind);
  if (::fstatat(root(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
    return StoredFile{id, kind, status.st_size, status.st_ino, status.st_nlink};
  }
  if (errno != ENOENT) return disk_error(shown(name), errno);
  return {ErrorCode::not_found, "the file " + id + " is not here; put it again"};
}

Result<StoredFile> VolumeBlobs::find(const std::string& id, FileKind kind) {
  if (auto fine = check_id(id); !fine) return std::move(fine).error();
  auto found = status_of(id, kind);
  if (!found && found.error().code == ErrorCode::not_found && kind == FileKind::program) {
    if (auto made = make_program_of(id); !made) return std::move(made).error();
    found = status_of(id, kind);
  }
  if (found && found->links == 1) ::utimensat(root(), blob_path(id, kind).c_str(), nullptr, 0);
  return found;
}

// The same bytes are here as a plain file.
Result<> VolumeBlobs::make_program_of(const std::string& id) {
  const UniqueFd plain = open_beneath(root(), blob_path(id, FileKind::plain), O_RDONLY);
  if (!plain) return {ErrorCode::not_found, "the file " + id + " is not here; put it again"};
  const std::string name = temporary_name();
  auto file = make_temporary(name);
  if (!file) return std::move(file).error();
  auto done = copy_file(plain.get(), file->get(), shown(name));
  if (done) done = publish(file->get(), name, id, FileKind::program, {});
  if (!done) ::unlinkat(root(), name.c_str(), 0);
  return done;
}

Result<> VolumeBlobs::link(const StoredFile& file, int directory, const std::string& name) {
  const std::string blob = blob_path(file.id, file.kind);
  for (const bool again : {false, true}) {
    if (::linkat(root(), blob.c_str(), directory, name.c_str(), 0) == 0) return Ok{};
    if (errno != EMLINK || again) break;
    if (auto copied = copy_again(file); !copied) return copied;
  }
  if (errno == ENOENT) {
    return {ErrorCode::conflict, "the file " + file.id + " has gone; put it again"};
  }
  return disk_error(shown(blob), errno);
}

// A file has only so many links (65,000 on ext4): the next ones are of another copy.
Result<> VolumeBlobs::copy_again(const StoredFile& file) {
  const std::string name = temporary_name();
  const UniqueFd old = open_beneath(root(), blob_path(file.id, file.kind), O_RDONLY);
  if (!old) return disk_error(shown(name), errno);
  auto copy = make_temporary(name);
  if (!copy) return std::move(copy).error();
  auto done = copy_file(old.get(), copy->get(), shown(name));
  if (done) done = publish(copy->get(), name, file.id, file.kind, {});
  if (!done) ::unlinkat(root(), name.c_str(), 0);
  return done;
}

Result<UniqueFd> VolumeBlobs::make_temporary(const std::string& name) {
  UniqueFd file = open_beneath(root(), name, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (!file) return disk_error(shown(name), errno);
  return file;
}

// Gives a written file its name; another that was faster is replaced by the same bytes.
Result<> VolumeBlobs::publish(int file, const std::string& name, const std::string& id,
                              FileKind kind, const std::vector<Sha256>& chunks) {
  if (::fchmod(file, mode_of(kind)) != 0) return disk_error(shown(name), errno);
  const std::string blob = blob_path(id, kind);
  if (auto made = make_directories(root(), parent_of(blob), shown(blob)); !made) return made;
  if (chunks.size() > 1) {
    const std::string list = temporary_name();
    auto written = make_temporary(list);
    if (!written) return std::move(written).error();
    auto whole = write_whole(written->get(), as_text(chunks), 0, shown(list));
    if (!whole) return whole;
    ::renameat(root(), list.c_str(), root(), ("chunks/" + id).c_str());
    struct stat status {};
    if (::fstat(file, &status) == 0) note_head(hex(chunks.front()), status.st_size);
  }
  if (::renameat(root(), name.c_str(), root(), blob.c_str()) != 0) {
    return disk_error(shown(blob), errno);
  }
  return Ok{};
}

Result<StoredFile> VolumeBlobs::adopt(int file, const std::string& name, FileKind kind,
                                      const std::vector<Sha256>& chunks) {
  const std::string id = file_id(chunks);
  if (status_of(id, kind)) {
    ::unlinkat(root(), name.c_str(), 0);
    return find(id, kind);
  }
  if (auto done = publish(file, name, id, kind, chunks); !done) return std::move(done).error();
  return status_of(id, kind);
}

// --- heads ------------------------------------------------------------------------------------

bool VolumeBlobs::may_have(const std::string& first_chunk, std::int64_t size_bytes) const {
  return is_sha256_hex(first_chunk) &&
         ::faccessat(root(), head_path(first_chunk, size_bytes).c_str(), F_OK, 0) == 0;
}

// Where that fails, a file travels again that need not.
void VolumeBlobs::note_head(const std::string& first_chunk, std::int64_t size_bytes) {
  const UniqueFd head =
      open_beneath(root(), head_path(first_chunk, size_bytes), O_WRONLY | O_CREAT, 0600);
  if (head) ::futimens(head.get(), nullptr);
}

// Notes those of all files anew, so that those which nobody has any more grow old.
void VolumeBlobs::note_heads() {
  const auto lists = entries_of(open_to_list(root(), "chunks"), shown("chunks"));
  for (std::size_t i = 0; lists && i < lists->size(); ++i) {
    const std::string& id = (*lists)[i].name;
    auto file = status_of(id, FileKind::plain);
    if (!file) file = status_of(id, FileKind::program);
    const UniqueFd list = open_beneath(root(), "chunks/" + id, O_RDONLY);
    if (!file || !list) continue;
    const auto first = read_range(list.get(), 0, sizeof(Sha256), shown(id));
    if (!first || first->size() != sizeof(Sha256)) continue;
    note_head(hex(read_digests(*first).front()), file->size_bytes);
  }
}

// --- small files ------------------------------------------------------------------------------

Result<std::size_t> VolumeBlobs::put_whole(std::string_view batch) {
  std::size_t files = 0;
  while (!batch.empty()) {
    std::uint32_t length = 0;
    if (batch.size() < sizeof length) return invalid("the batch of files is cut off");
    std::memcpy(&length, batch.data(), sizeof length);
    batch.remove_prefix(sizeof length);
    if (length > batch.size() || length > kChunkBytes) {
      return invalid("the batch of files is cut off, or has one of over 8 MiB");
    }
    if (auto put = put_one(batch.substr(0, length)); !put) return std::move(put).error();
    batch.remove_prefix(length);
    ++files;
  }
  return files;
}

Result<> VolumeBlobs::put_one(std::string_view bytes) {
  std::vector<Sha256> chunks;
  if (!bytes.empty()) chunks.push_back(sha256(bytes));
  const std::string id = file_id(chunks);
  if (find(id, FileKind::plain)) return Ok{};
  const std::string name = temporary_name();
  auto file = make_temporary(name);
  if (!file) return std::move(file).error();
  auto done = write_whole(file->get(), bytes, 0, shown(name));
  if (done) done = publish(file->get(), name, id, FileKind::plain, chunks);
  if (!done) ::unlinkat(root(), name.c_str(), 0);
  return done;
}

// --- large files ------------------------------------------------------------------------------

Result<std::vector<std::size_t>> VolumeBlobs::begin(const std::string& id, std::int64_t size_bytes,
                                                    std::string_view chunk_digests) {
  if (auto fine = check_id(id); !fine) return std::move(fine).error();
  if (size_bytes <= 0 || size_bytes > kMaxVolumeFileBytes) {
    return invalid("size_bytes must be from 1 to 2^40");
  }
  if (chunk_digests.size() != chunks_of(size_bytes) * sizeof(Sha256)) {
    return invalid("there must be one SHA-256 for each 8 MiB of the file");
  }
  if (hex(sha256(chunk_digests)) != id) return invalid("the id is not that of these chunks");
  if (find(id, FileKind::plain)) return std::vector<std::size_t>{};
  auto file = std::make_shared<Incoming>();
  std::unique_lock mine(file->mutex);  // until it is known what is missing
  std::shared_ptr<Incoming> older;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = incoming_.find(id); found != incoming_.end()) {
      older = found->second;
    } else if (incoming_.size() >= kMaxIncoming) {
      return {ErrorCode::resource_exhausted,
              "1000 files are on their way already; try again later"};
    } else {
      incoming_[id] = file;
    }
  }
  if (older) {
    const std::lock_guard lock(older->mutex);
    return std::vector<std::size_t>(older->missing.begin(), older->missing.end());
  }
  file->id = id;
  file->chunks = read_digests(chunk_digests);
  auto missing = open_incoming(*file, size_bytes);
  if (missing && !missing->empty()) return missing;
  if (missing) {
    if (auto finished = finish(*file); !finished) missing = std::move(finished).error();
  }
  const std::lock_guard lock(mutex_);
  incoming_.erase(id);
  return missing;
}

Result<std::vector<std::size_t>> VolumeBlobs::open_incoming(Incoming& file,
                                                            std::int64_t size_bytes) {
  const std::string name = "incoming/" + file.id;
  file.file = open_beneath(root(), name, O_RDWR | O_CREAT, 0600);
  if (!file.file) return disk_error(shown(name), errno);
  file.direct = open_beneath(root(), name, O_WRONLY | O_DIRECT);
  note_head(hex(file.chunks.front()), size_bytes);
  return missing_of(file);
}

// What an earlier life of the server has received is looked at anew: it may not all be on disk.
Result<std::vector<std::size_t>> VolumeBlobs::missing_of(Incoming& file) {
  struct stat status {};
  if (::fstat(file.file.get(), &status) != 0) return disk_error(shown(file.id), errno);
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < file.chunks.size(); ++i) {
    const auto begin = static_cast<std::int64_t>(i) * kChunkBytes;
    bool here = false;
    if (begin < status.st_size) {
      auto bytes = read_range(file.file.get(), begin, kChunkBytes, shown(file.id));
      if (!bytes) return std::move(bytes).error();
      here = sha256(*bytes) == file.chunks[i];
      if (here) file.note_end(i, bytes->size());
    }
    if (!here) missing.push_back(i);
  }
  file.missing = {missing.begin(), missing.end()};
  return missing;
}

std::shared_ptr<VolumeBlobs::Incoming> VolumeBlobs::incoming(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = incoming_.find(id);
  return found == incoming_.end() ? nullptr : found->second;
}

Result<bool> VolumeBlobs::put_chunk(const std::string& id, std::size_t index,
                                    std::string_view bytes) {
  if (auto fine = check_id(id); !fine) return std::move(fine).error();
  const auto file = incoming(id);
  if (file) const std::lock_guard until_begun(file->mutex);
  if (!file || !file->file) {
    if (status_of(id, FileKind::plain)) return true;  // by another who puts the same
    return {ErrorCode::conflict, "the file " + id + " has not been begun; put it again"};
  }
  const bool is_last = index + 1 == file->chunks.size();
  if (index >= file->chunks.size() || bytes.size() > kChunkBytes ||
      (!is_last && bytes.size() < kChunkBytes)) {
    return invalid("the file has no such chunk of " + std::to_string(bytes.size()) + " bytes");
  }
  if (sha256(bytes) != file->chunks[index]) {
    return invalid("the chunk does not have its SHA-256; the file has changed: put it again");
  }
  auto written = write_past_cache({.file = file->file.get(), .direct = file->direct.get()}, bytes,
                                  static_cast<std::int64_t>(index) * kChunkBytes, shown(id));
  if (!written) return std::move(written).error();
  {
    const std::lock_guard lock(file->mutex);
    file->note_end(index, bytes.size());
    if (file->missing.erase(index) == 0 || !file->missing.empty()) return file->missing.empty();
  }
  if (auto finished = finish(*file); !finished) {
    const std::lock_guard lock(file->mutex);
    file->missing.insert(index);
    return std::move(finished).error();
  }
  const std::lock_guard lock(mutex_);
  incoming_.erase(id);
  return true;
}

Result<> VolumeBlobs::finish(Incoming& file) {
  const std::string name = "incoming/" + file.id;
  if (::ftruncate(file.file.get(), file.size_bytes) != 0) return disk_error(shown(name), errno);
  return publish(file.file.get(), name, file.id, FileKind::plain, file.chunks);
}

// --- files of containers ----------------------------------------------------------------------

Result<StoredFile> VolumeBlobs::take(int source, int directory, const std::string& source_name,
                                     FileKind kind, Take how) {
  const std::string name = temporary_name();
  UniqueFd copy;
  int read_from = source;
  if (how == Take::link) {
    if (::linkat(directory, source_name.c_str(), root(), name.c_str(), 0) != 0) {
      how = Take::copy;
    }
  }
  bool cloned = false;
  if (how == Take::copy) {
    auto made = make_temporary(name);
    if (!made) return std::move(made).error();
    copy = std::move(*made);
    cloned = clone_file(source, copy.get());
    if (cloned) read_from = copy.get();
  }
  std::vector<Sha256> chunks;
  Result<> done = Ok{};
  std::int64_t size = 0;
  while (done.ok()) {
    auto piece = read_range(read_from, size, kChunkBytes, shown(name));
    if (!piece) {
      done = std::move(piece).error();
      break;
    }
    if (piece->empty()) break;
    chunks.push_back(sha256(*piece));
    if (how == Take::copy && !cloned) done = write_whole(copy.get(), *piece, size, shown(name));
    size += static_cast<std::int64_t>(piece->size());
    if (static_cast<std::int64_t>(piece->size()) < kChunkBytes) break;
  }
  Result<StoredFile> taken =
      done ? adopt(how == Take::link ? source : copy.get(), name, kind, chunks)
           : Result<StoredFile>(std::move(done).error());
  if (!taken) ::unlinkat(root(), name.c_str(), 0);
  return taken;
}

// --- collecting -------------------------------------------------------------------------------

void VolumeBlobs::collect() {
  const auto shelves = entries_of(open_to_list(root(), "blobs"), shown("blobs"));
  for (std::size_t i = 0; shelves && i < shelves->size(); ++i) {
    collect_in("blobs/" + (*shelves)[i].name);
  }
  collect_in("incoming");
  const auto lists = entries_of(open_to_list(root(), "chunks"), shown("chunks"));
  for (std::size_t i = 0; lists && i < lists->size(); ++i) {
    const std::string& id = (*lists)[i].name;
    const bool used = status_of(id, FileKind::plain).ok() || status_of(id, FileKind::program).ok();
    if (!used) ::unlinkat(root(), ("chunks/" + id).c_str(), 0);
  }
  note_heads();
  collect_in("heads");
}

void VolumeBlobs::collect_in(const std::string& directory) {
  const auto files = entries_of(open_to_list(root(), directory), shown(directory));
  const std::time_t now = std::time(nullptr);
  for (std::size_t i = 0; files && i < files->size(); ++i) {
    const std::string name = directory + "/" + (*files)[i].name;
    struct stat status {};
    if (::fstatat(root(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (status.st_nlink > 1 || now - status.st_mtime < kKeptSeconds) continue;
    if (incoming((*files)[i].name)) continue;
    ::unlinkat(root(), name.c_str(), 0);
  }
}

}  // namespace ember
