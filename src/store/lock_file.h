// One server per data directory: a lock that the kernel drops when its holder ends, however it
// ends.
#pragma once

#include <string>

#include "base/result.h"

namespace ember {

class LockFile {
 public:
  // Takes `directory`/lock, or says which process holds it (conflict).
  static Result<LockFile> take(const std::string& directory);

  LockFile(LockFile&& other) noexcept;
  LockFile& operator=(LockFile&&) = delete;
  ~LockFile();

 private:
  explicit LockFile(int descriptor) : descriptor_(descriptor) {}

  int descriptor_;
};

}  // namespace ember
