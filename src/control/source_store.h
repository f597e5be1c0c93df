// Users' sources on disk. Files come once, named by their SHA-256; a source is a manifest over
// them, laid out as a directory that containers see at /source.
//
//   blobs/ab/cdef…         one file's bytes, read-only
//   manifests/src-….json   a manifest
//   sources/src-…/         the files in their places, hard links to the blobs
//   tmp/                   what is being written; emptied at start
//
// All functions but open() block on the disk: call them off the loop. They may run side by side:
// whatever has its final name is whole.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/control.h"
#include "control/manifest.h"
#include "node/unique_fd.h"

namespace ember {

class SourceStore {
 public:
  explicit SourceStore(std::string data) : data_(std::move(data)) {}

  Result<> prepare();  // makes the directories, removes what was left half-done
  Result<UploadResult> register_manifest(const std::string& manifest_json);
  Result<> put_blob(const std::string& sha256, const std::string& bytes);
  // Lays the source out, durably. Conflict when files are missing.
  Result<> materialise(const std::string& digest);
  // The laid-out source as an O_PATH descriptor. Not found when somebody has removed it.
  Result<UniqueFd> open(const std::string& digest) const;
  // The directory that holds all of them by name, as such a descriptor.
  Result<UniqueFd> open_all() const;

 private:
  std::string blob_path(const std::string& sha256) const;
  std::string temporary_path();
  Result<> write_file(const std::string& path, const std::string& bytes);
  Result<> check_complete(const Manifest& manifest, const std::string& digest) const;
  Result<> lay_out(const Manifest& manifest, const std::string& directory);
  Result<> publish(const Manifest& manifest, const std::string& temporary,
                   const std::string& final_path);

  const std::string data_;
  std::atomic<std::uint64_t> next_temporary_ = 0;
};

}  // namespace ember
