// The list of files that make up a source: where each lies and which bytes it has. Its digest names
// the source, so the same files have the same name whoever uploads them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ember {

struct SourceFile {
  std::string path;  // relative, with '/', without "." and ".."
  std::string sha256;
  std::int64_t size_bytes = 0;
  bool executable = false;
};

struct Manifest {
  std::vector<SourceFile> files;  // by path

  std::string json() const;    // canonical
  std::string digest() const;  // "src-" and 32 hex digits
};

// At most 5000 files and 200 MB; paths that stay inside, and no file that is another's directory.
Result<Manifest> parse_manifest(std::string_view text);

bool is_source_digest(std::string_view text);

}  // namespace ember
