// What the gateway asks of volumes. Documents are those of docs/reference/http.md. All of it runs
// on the loop's thread, and `done` once on it, possibly before the call returns.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ember {

struct VolumeListing {
  std::string volume;
  std::string path;  // a directory, or a file; empty: the root
  std::uint32_t version = 0;
  bool recursive = false;
  std::string after;  // only what comes after this path
  std::int64_t limit = 1000;
};

struct VolumeRange {
  std::string volume;
  std::string path;
  std::uint32_t version = 0;
  std::int64_t offset = 0;
  std::int64_t length = 0;  // at most kMaxVolumeRange
};
inline constexpr std::int64_t kMaxVolumeRange = 8 << 20;
inline constexpr std::int64_t kMaxVolumeEntries = 10'000;  // of one listing

class VolumeService {
 public:
  virtual ~VolumeService() = default;
  using Done = std::function<void(Result<std::string>)>;  // with a document

  virtual std::string list() = 0;
  virtual Result<std::string> show(std::string_view volume) = 0;
  virtual Result<std::string> history(std::string_view volume) = 0;
  virtual void create(std::string request_json, Done done) = 0;
  virtual void remove(std::string volume, Done done) = 0;
  virtual void rollback(std::string volume, std::uint32_t version, Done done) = 0;
  virtual Result<> heartbeat(std::string_view volume) = 0;  // keeps an ephemeral one

  virtual void tree(VolumeListing listing, Done done) = 0;
  virtual void read(VolumeRange range, Done done) = 0;  // with the bytes

  // Which of the files (a JSON document a line) are not stored.
  virtual void needs(std::string volume, std::string files, Done done) = 0;
  // Changes (a JSON document a line) as a new version, all of them or none.
  virtual void commit(std::string volume, std::string changes, Done done) = 0;
  virtual void put_files(std::string batch, Done done) = 0;
  virtual void begin_file(std::string id, std::int64_t size_bytes, std::string digests,
                          Done done) = 0;
  virtual void put_chunk(std::string id, std::int64_t index, std::string bytes, Done done) = 0;
  virtual void begin_draft(std::string name, std::int64_t size_bytes, Done done) = 0;
  virtual void put_draft_chunk(std::string name, std::int64_t index, std::string bytes,
                               Done done) = 0;
  virtual void finish_draft(std::string name, Done done) = 0;
};

}  // namespace ember
