// Log lines on disk: one file per container, DIRECTORY/APP/CONTAINER.log, a JSON document a line.
// A file that is full is kept as CONTAINER.log.1 and begun anew; old containers' files go when
// there are too many. Blocks on the disk; one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/control.h"

namespace ember {

class LogFiles {
 public:
  explicit LogFiles(std::string directory) : directory_(std::move(directory)) {}

  // Gives how many lines could not be written.
  std::uint64_t write(const std::vector<LogLine>& lines);
  // The last lines of the newest files, by time.
  std::vector<LogLine> read_back();

 private:
  void remove_old();

  const std::string directory_;
  std::size_t files_made_ = 0;
};

}  // namespace ember
