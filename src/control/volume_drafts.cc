#include "control/volume_drafts.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/disk_error.h"

namespace ember {
namespace {

constexpr std::size_t kMaxDrafts = 1000;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

Error not_begun() {
  return {ErrorCode::conflict, "the draft has not been begun, or has ended; put the file again"};
}

Result<> check_name(const std::string& name) {
  if (is_sha256_hex(name)) return Ok{};
  return invalid("a draft's name is 64 lower-case hex digits");
}

std::size_t chunk_size(std::int64_t size_bytes, std::size_t index) {
  const std::int64_t begin = static_cast<std::int64_t>(index) * kChunkBytes;
  return static_cast<std::size_t>(std::min(kChunkBytes, size_bytes - begin));
}

}  // namespace

Result<> VolumeDrafts::prepare() { return make_directories(blobs_.root(), "drafts", shown("")); }

Result<VolumeDrafts::Digests> VolumeDrafts::begin(const std::string& name,
                                                  std::int64_t size_bytes) {
  if (auto fine = check_name(name); !fine) return std::move(fine).error();
  if (size_bytes <= 0 || size_bytes > kMaxVolumeFileBytes) {
    return invalid("size_bytes must be from 1 to 2^40");
  }
  auto draft = std::make_shared<Draft>();
  draft->size_bytes = size_bytes;
  std::unique_lock mine(draft->mutex);  // until it is known what is here
  std::shared_ptr<Draft> older;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = drafts_.find(name); found != drafts_.end()) {
      older = found->second;
    } else if (drafts_.size() >= kMaxDrafts) {
      return {ErrorCode::resource_exhausted,
              "1000 files are on their way already; try again later"};
    } else {
      drafts_[name] = draft;
    }
  }
  if (older) {
    const std::lock_guard lock(older->mutex);
    if (!older->file || older->ended) return not_begun();
    if (older->size_bytes != size_bytes) return invalid("the draft is of another size");
    return older->chunks;
  }
  if (auto opened = open(*draft, name); !opened) {
    draft->file = {};
    forget(name);
    return std::move(opened).error();
  }
  return draft->chunks;
}

Result<> VolumeDrafts::open(Draft& draft, const std::string& name) {
  const std::string path = "drafts/" + name;
  draft.file = open_beneath(blobs_.root(), path, O_RDWR | O_CREAT, 0600);
  if (!draft.file) return disk_error(shown(name), errno);
  draft.direct = open_beneath(blobs_.root(), path, O_WRONLY | O_DIRECT);
  ::futimens(draft.file.get(), nullptr);
  draft.chunks.resize(chunks_of(draft.size_bytes));
  return read_again(draft, name);
}

// What an earlier life of the server has received. A hole counts as here: its digest is not that
// of the client's chunk, who sends that again.
Result<> VolumeDrafts::read_again(Draft& draft, const std::string& name) {
  struct stat status {};
  if (::fstat(draft.file.get(), &status) != 0) return disk_error(shown(name), errno);
  for (std::size_t i = 0; i < draft.chunks.size(); ++i) {
    const std::int64_t begin = static_cast<std::int64_t>(i) * kChunkBytes;
    if (begin >= status.st_size) break;
    const std::size_t size = chunk_size(draft.size_bytes, i);
    auto bytes = read_range(draft.file.get(), begin, size, shown(name));
    if (!bytes) return std::move(bytes).error();
    if (bytes->size() == size) draft.chunks[i] = sha256(*bytes);
  }
  return Ok{};
}

std::shared_ptr<VolumeDrafts::Draft> VolumeDrafts::find(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = drafts_.find(name);
  return found == drafts_.end() ? nullptr : found->second;
}

void VolumeDrafts::forget(const std::string& name) {
  const std::lock_guard lock(mutex_);
  drafts_.erase(name);
}

Result<> VolumeDrafts::put_chunk(const std::string& name, std::size_t index,
                                 std::string_view bytes) {
  if (auto fine = check_name(name); !fine) return fine;
  const auto draft = find(name);
  if (!draft) return not_begun();
  {
    std::unique_lock lock(draft->mutex);
    // Two at once could leave a part of each.
    draft->written.wait(lock, [&] { return !draft->writing.contains(index); });
    if (!draft->file || draft->ended) return not_begun();
    if (index >= draft->chunks.size() || bytes.size() != chunk_size(draft->size_bytes, index)) {
      return invalid("the file has no such chunk of " + std::to_string(bytes.size()) + " bytes");
    }
    draft->chunks[index].reset();
    draft->writing.insert(index);
  }
  const Sha256 digest = sha256(bytes);
  auto written = write_past_cache({.file = draft->file.get(), .direct = draft->direct.get()}, bytes,
                                  static_cast<std::int64_t>(index) * kChunkBytes, shown(name));
  const std::lock_guard lock(draft->mutex);
  if (written) draft->chunks[index] = digest;
  draft->writing.erase(index);
  draft->written.notify_all();
  return written;
}

Result<std::string> VolumeDrafts::finish(const std::string& name) {
  if (auto fine = check_name(name); !fine) return std::move(fine).error();
  const auto draft = find(name);
  if (!draft) return not_begun();
  std::string id;
  {
    const std::lock_guard lock(draft->mutex);
    if (!draft->file || draft->ended) return not_begun();
    std::vector<Sha256> chunks;
    for (const auto& chunk : draft->chunks) {
      if (!chunk) return {ErrorCode::conflict, "chunks of the draft are missing; put it again"};
      chunks.push_back(*chunk);
    }
    if (::ftruncate(draft->file.get(), draft->size_bytes) != 0) {
      return disk_error(shown(name), errno);
    }
    auto file = blobs_.adopt(draft->file.get(), "drafts/" + name, FileKind::plain, chunks);
    if (!file) return std::move(file).error();
    id = file->id;
    draft->ended = true;
  }
  forget(name);
  return id;
}

void VolumeDrafts::collect() {
  const auto files = entries_of(open_to_list(blobs_.root(), "drafts"), shown(""));
  for (std::size_t i = 0; files && i < files->size(); ++i) {
    const std::string& name = (*files)[i].name;
    const std::string path = "drafts/" + name;
    const std::lock_guard lock(mutex_);
    struct stat status {};
    if (::fstatat(blobs_.root(), path.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (std::time(nullptr) - status.st_mtime < kKeptSeconds) continue;
    drafts_.erase(name);
    ::unlinkat(blobs_.root(), path.c_str(), 0);
  }
}

}  // namespace ember
