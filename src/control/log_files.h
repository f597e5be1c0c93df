// Log lines on disk: DIRECTORY/APP/CONTAINER.log, a JSON document for each run of lines that came
// together. A file that is full is kept as CONTAINER.log.1, in the place of the one before, and
// begun anew. Where there is too much of an app, or of all, the files go that were written longest
// ago. Blocks on the disk.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/control.h"
#include "control/line_search.h"

namespace ember {

struct LogLimits {
  std::int64_t container_bytes = 16 << 20;  // half of it in each of the two files
  std::int64_t app_bytes = 256 << 20;
  std::int64_t total_bytes = 1 << 30;
  std::size_t files = 1000;
};

// Its text may have several lines.
std::string to_text(const LogLine& line);
// Nothing for what is no such document, such as the torn line that a crash may leave.
std::optional<LogLine> from_text(const std::string& text);

// Writes; one thread at a time.
class LogFiles {
 public:
  LogFiles(std::string directory, LogLimits limits)
      : directory_(std::move(directory)), limits_(limits) {}

  // Gives the lines that could not be written.
  std::vector<LogLine> write(const std::vector<LogLine>& lines);

 private:
  struct File {
    std::int64_t bytes = 0;
    std::uint64_t written = 0;  // orders writes
    bool seen_whole = false;    // that it ends with a line's end
  };
  using Files = std::map<std::string, File>;  // by path

  void find_files();
  bool append(const std::string& app, const std::string& path, const std::string& bytes);
  void rotate(const std::string& app, const std::string& path);
  void make_room();
  void remove_oldest(Files& of);

  const std::string directory_;
  const LogLimits limits_;
  bool found_ = false;  // what an earlier server left is known
  std::uint64_t writes_ = 0;
  std::map<std::string, Files> apps_;
};

// The newest lines of files that match and are older than `before`, at most `query.last`, by time,
// each with a text of one line. Any thread, also while lines are written.
std::vector<LogLine> read_logs(const std::string& directory, const LogQuery& query, Time before);

// But for what is searched for, which a line of the text is to have.
bool matches(const LogQuery& query, const LogLine& line);
// Puts the text's last lines that have what is searched for in front, one document each, until
// there are `most`.
void split_into(std::vector<LogLine>& newest_first, const LogLine& line, std::size_t most,
                const LineSearch& search);

}  // namespace ember
