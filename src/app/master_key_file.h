// Where the master key comes from: a variable of the environment, what a command prints, or the
// file <data>/master.key (mode 600), made at the first start.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "control/sealed_box.h"
#include "node/unique_fd.h"

namespace ember {

struct MasterKeyFlags {
  std::string env;      // the name of a variable
  std::string command;  // for a shell
};

class MasterKeyFile {
 public:
  // Reads the key while the process may still have privileges. The variable is wiped once it has
  // been read. Refuses a file that others may read.
  static Result<MasterKeyFile> open(const std::string& data, const MasterKeyFlags& flags);

  enum class Sealed { nothing, something };
  // The key. Where there is none yet one is made, unless something has been sealed with one that is
  // missing now: then there is none.
  Result<std::optional<MasterKey>> take(Sealed sealed);

 private:
  MasterKeyFile() = default;

  std::optional<MasterKey> key_;
  UniqueFd empty_file_;  // for the key that is made
};

}  // namespace ember
