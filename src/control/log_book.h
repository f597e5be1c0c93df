// What containers write: recent lines of each app in memory, all of them in bounded files, and
// those who follow.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control/background.h"
#include "control/control.h"
#include "control/engine_driver.h"
#include "control/log_files.h"

namespace ember {

class LogBook {
 public:
  LogBook(const std::string& data, EngineDriver& driver, Background& background);

  // Reads back what the files remember. Blocks; before the loop runs.
  void load();

  void append(LogLine line);
  std::vector<LogLine> select(const LogQuery& query) const;
  // The last lines that this container wrote, oldest first, as one text.
  std::string tail(std::string_view app, ContainerId container, std::size_t lines) const;
  std::shared_ptr<void> follow(const LogQuery& query, std::shared_ptr<LogFollower> follower);

  bool is_written() const { return pending_.empty() && !writing_; }
  std::uint64_t dropped() const { return dropped_; }  // lines that found no room in the files

 private:
  struct AppLines {
    std::deque<LogLine> lines;
    std::size_t bytes = 0;
  };
  struct Follow {
    LogQuery query;
    std::shared_ptr<LogFollower> follower;
  };

  void remember(LogLine line);
  void keep(const LogLine& line);
  void flush();
  void tell(const LogLine& line);

  EngineDriver& driver_;
  Background& background_;
  std::shared_ptr<LogFiles> files_;  // shared with writes under way
  std::map<std::string, AppLines, std::less<>> apps_;
  std::vector<std::weak_ptr<Follow>> follows_;  // the follower holds the other end
  std::vector<LogLine> pending_;                // to be written
  std::size_t pending_bytes_ = 0;
  bool flush_due_ = false;
  bool writing_ = false;
  std::uint64_t dropped_ = 0;
};

}  // namespace ember
