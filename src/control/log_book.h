// What containers write: recent lines of each app in memory, all of them in bounded files, and
// those who follow. What found no room anywhere on the way is counted, by container and function,
// and a line of the stream "system" stands where it is missing.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/background.h"
#include "control/control.h"
#include "control/engine_driver.h"
#include "control/log_files.h"

namespace ember {

class LogBook {
 public:
  LogBook(const std::string& data, LogLimits limits, EngineDriver& driver, Background& background);

  // The text may have several lines. What follows at once with the same origin is kept with it.
  void append(LogLine line);
  // The container dropped lines here; `line` tells whose they were.
  void append_gap(LogLine line, DroppedLogs dropped);

  // The newest lines, oldest first; called back once, at once where memory has enough of them.
  void select(const LogQuery& query, std::function<void(std::vector<LogLine>)> done);
  // The last lines that this container wrote, oldest first, as one text; of those in memory.
  std::string tail(std::string_view app, ContainerId container, std::size_t lines) const;
  std::shared_ptr<void> follow(const LogQuery& query, std::shared_ptr<LogFollower> follower);

  bool is_written() const { return pending_.empty() && !writing_; }
  // Lines of text for which the disk had no room.
  std::uint64_t lines_unwritten() const { return lines_unwritten_; }
  DroppedLogs dropped_by(ContainerId container) const;
  DroppedLogs dropped_by(const std::string& app, const std::string& function) const;
  // No more lines of this container come.
  void forget(ContainerId container) { sources_.erase(container); }

 private:
  struct AppLines {
    std::deque<LogLine> lines;
    std::size_t bytes = 0;
  };
  struct Source {
    DroppedLogs dropped;
    DroppedLogs unwritten;  // of these, what the files do not tell yet
    std::size_t pending_bytes = 0;
  };
  struct Follow {
    LogQuery query;
    LineSearch search;
    std::shared_ptr<LogFollower> follower;
  };

  void count(const LogLine& line, DroppedLogs dropped);
  void lose(const LogLine& line);
  bool keep(const LogLine& line, bool joins);
  void remember(LogLine line, bool joins);
  void forget_oldest(AppLines& app);
  void halve_largest();
  void flush_soon();
  void flush();
  void flushed(const std::vector<LogLine>& lost);
  void tell(const LogLine& line);
  std::vector<LogLine> recent(const LogQuery& query) const;

  EngineDriver& driver_;
  Background& background_;
  const std::string directory_;
  std::shared_ptr<LogFiles> files_;  // shared with writes under way
  std::map<std::string, AppLines, std::less<>> apps_;
  std::size_t bytes_ = 0;  // of all apps
  std::uint64_t lines_unwritten_ = 0;
  std::map<ContainerId, Source> sources_;
  std::map<std::pair<std::string, std::string>, DroppedLogs> dropped_;  // by app and function
  std::vector<std::weak_ptr<Follow>> follows_;  // the follower holds the other end
  std::vector<LogLine> pending_;                // to be written
  std::vector<std::function<void()>> readers_;  // of what is being written
  std::size_t pending_bytes_ = 0;
  Time last_;  // of the last line: times of lines only grow
  bool flush_due_ = false;
  bool writing_ = false;
};

}  // namespace ember
