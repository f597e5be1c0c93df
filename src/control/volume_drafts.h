// Large files that come without their digests: who puts one that the store cannot have reads it
// once, to send it, and the store alone hashes it. A draft goes by a name that its client makes up
// and nobody else can guess; it takes its chunks in any order and as often as they come, and once
// it is whole it becomes the file with the id that its bytes have.
//
//   drafts/cdef…   one that is on its way; kept for a day after its last chunk
//
// Functions block on the disk and may run side by side.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "control/volume_blobs.h"

namespace ember {

class VolumeDrafts {
 public:
  using Digests = std::vector<std::optional<Sha256>>;  // of each chunk that is here

  explicit VolumeDrafts(VolumeBlobs& blobs) : blobs_(blobs) {}
  Result<> prepare();

  // Begins a draft, or takes it up where it was left. What is here may not be what the client has:
  // a server that crashed may have lost some of it, so the client compares the digests.
  Result<Digests> begin(const std::string& name, std::int64_t size_bytes);
  // The one that comes later stays. Conflict where the draft has not been begun, or has ended.
  Result<> put_chunk(const std::string& name, std::size_t index, std::string_view bytes);
  // Makes a whole draft a file of the store, and ends it; the file's id.
  Result<std::string> finish(const std::string& name);

  // Removes what nobody has gone on with for a day.
  void collect();

 private:
  struct Draft {
    std::int64_t size_bytes = 0;
    UniqueFd file;
    UniqueFd direct;  // the same past the page cache; empty where the file system has no such way

    std::mutex mutex;
    // Of what follows, which it guards: some chunk has been written.
    std::condition_variable written;
    Digests chunks;
    std::set<std::size_t> writing;
    bool ended = false;
  };

  Result<> open(Draft& draft, const std::string& name);
  Result<> read_again(Draft& draft, const std::string& name);
  std::shared_ptr<Draft> find(const std::string& name);
  void forget(const std::string& name);
  std::string shown(const std::string& name) const { return blobs_.path() + "/drafts/" + name; }

  VolumeBlobs& blobs_;
  std::mutex mutex_;
  // Shared with those that work on it just now. Guarded by mutex_.
  std::map<std::string, std::shared_ptr<Draft>> drafts_;
};

}  // namespace ember
