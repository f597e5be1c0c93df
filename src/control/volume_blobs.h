// The files of volumes, each once and whole, so that containers read them at the disk's own speed.
// A file is named by the SHA-256 of its chunks' SHA-256s, one after the other; chunks, of 8 MiB but
// for the last, are what travels, is checked and is taken up again. Programs (mode 0755) are kept
// apart from files (0644), since links to one file share its mode.
//
//   blobs/ab/cdef…[.x]   a file; volumes hold hard links to it, so one with a single link is
//                        nobody's
//   chunks/cdef…         the digests of the chunks of one that has several
//   heads/cdef….123      the digest of the first chunk and the size of one that has several
//   incoming/cdef…       one that is on its way, as long as it will be
//   tmp/                 emptied at start
//
// Functions block on the disk and may run side by side.
#pragma once

#include <atomic>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "control/digest.h"
#include "control/volume_disk.h"

namespace ember {

inline constexpr std::int64_t kChunkBytes = 8 << 20;
inline constexpr std::int64_t kMaxVolumeFileBytes = std::int64_t{1} << 40;
inline constexpr std::time_t kKeptSeconds = 24 * 60 * 60;  // what nobody has linked to

enum class FileKind : std::uint8_t { plain, program };

struct StoredFile {
  std::string id;
  FileKind kind = FileKind::plain;
  std::int64_t size_bytes = 0;
  ino_t inode = 0;
  nlink_t links = 0;
};

// How a file came to be in the store.
enum class Take { copy, link };

class VolumeBlobs {
 public:
  explicit VolumeBlobs(std::string directory) : path_(std::move(directory)) {}

  Result<> prepare();
  int root() const { return root_.get(); }
  const std::string& path() const { return path_; }

  // The file, kept from being collected for a day; not found where it is not here.
  Result<StoredFile> find(const std::string& id, FileKind kind);
  // Makes the name, which must not be there, a link to the file.
  Result<> link(const StoredFile& file, int directory, const std::string& name);

  // Whether a file of several chunks may be here, or on its way, that is as long and begins with
  // this chunk. True at times of one that has gone; never false of one that is here, but for those
  // that a server from before heads/ has stored, until collect() has run.
  bool may_have(const std::string& first_chunk, std::int64_t size_bytes) const;

  // Small files, each whole: u32 little-endian length, bytes, and so on to the end.
  Result<std::size_t> put_whole(std::string_view batch);

  // Begins a file, or takes it up where it was left; the chunks that are missing.
  Result<std::vector<std::size_t>> begin(const std::string& id, std::int64_t size_bytes,
                                         std::string_view chunk_digests);
  // Whether the file is whole now.
  Result<bool> put_chunk(const std::string& id, std::size_t index, std::string_view bytes);

  // Takes a file of a container's. `link`: nobody can write to it any more.
  Result<StoredFile> take(int file, int directory, const std::string& name, FileKind kind,
                          Take how);
  // Gives a file that is written, by a name beneath root(), its place as the one with these chunks.
  // One that is here already stays instead.
  Result<StoredFile> adopt(int file, const std::string& name, FileKind kind,
                           const std::vector<Sha256>& chunks);

  // Removes what nobody has linked to, or gone on with, for a day.
  void collect();
  std::string temporary_name();  // a path beneath root()

 private:
  struct Incoming {
    std::string id;
    std::int64_t size_bytes = 0;  // once its last chunk is here, whose digest says how long it is
    std::vector<Sha256> chunks;
    UniqueFd file;
    UniqueFd direct;  // the same past the page cache; empty where the file system has no such way

    void note_end(std::size_t index, std::size_t chunk_bytes) {
      if (index + 1 < chunks.size()) return;
      size_bytes =
          static_cast<std::int64_t>(index) * kChunkBytes + static_cast<std::int64_t>(chunk_bytes);
    }
    std::mutex mutex;
    std::set<std::size_t> missing;  // guarded by mutex
  };

  std::string blob_path(const std::string& id, FileKind kind) const;
  std::string shown(const std::string& name) const { return path_ + "/" + name; }
  Result<StoredFile> status_of(const std::string& id, FileKind kind);
  Result<UniqueFd> make_temporary(const std::string& name);
  Result<> publish(int file, const std::string& name, const std::string& id, FileKind kind,
                   const std::vector<Sha256>& chunks);
  Result<> put_one(std::string_view bytes);
  void note_head(const std::string& first_chunk, std::int64_t size_bytes);
  void note_heads();
  Result<> copy_again(const StoredFile& file);
  Result<> make_program_of(const std::string& id);
  std::shared_ptr<Incoming> incoming(const std::string& id);
  Result<std::vector<std::size_t>> open_incoming(Incoming& file, std::int64_t size_bytes);
  Result<std::vector<std::size_t>> missing_of(Incoming& file);
  Result<> finish(Incoming& file);
  void collect_in(const std::string& directory);

  const std::string path_;
  UniqueFd root_;
  std::atomic<std::uint64_t> next_temporary_ = 0;
  std::mutex mutex_;
  // Shared with those that write a chunk of it just now. Guarded by mutex_.
  std::map<std::string, std::shared_ptr<Incoming>> incoming_;
};

std::size_t chunks_of(std::int64_t size_bytes);
// The name of the file with these chunks.
std::string file_id(const std::vector<Sha256>& chunks);

}  // namespace ember
