#include "control/log_book.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace ember {
namespace {

constexpr Duration kFlushDelay = Duration::milliseconds(200);
constexpr std::size_t kMaxLinesPerApp = 10'000;
constexpr std::size_t kMaxBytesPerApp = 4u << 20;
constexpr std::size_t kMaxTextBytes = 64u << 10;
constexpr std::size_t kMaxPendingBytes = 8u << 20;  // when the disk does not keep up

bool matches(const LogQuery& query, const LogLine& line) {
  return line.app == query.app && (query.function.empty() || line.function == query.function) &&
         (!query.container || line.container == *query.container) &&
         (!query.call || line.call == *query.call);
}

std::size_t size_of(const LogLine& line) { return sizeof line + line.text.size(); }

}  // namespace

LogBook::LogBook(const std::string& data, EngineDriver& driver, Background& background)
    : driver_(driver),
      background_(background),
      files_(std::make_shared<LogFiles>(data + "/logs")) {}

void LogBook::load() {
  for (LogLine& line : files_->read_back()) remember(std::move(line));
}

void LogBook::append(LogLine line) {
  if (line.text.size() > kMaxTextBytes) {
    line.text.resize(kMaxTextBytes);
    line.text += " … (cut at 64 KiB)";
  }
  tell(line);
  keep(line);
  remember(std::move(line));
}

// For the files, a little later and together.
void LogBook::keep(const LogLine& line) {
  if (pending_bytes_ >= kMaxPendingBytes) {
    ++dropped_;
    return;
  }
  pending_bytes_ += size_of(line);
  pending_.push_back(line);
  if (std::exchange(flush_due_, true)) return;
  driver_.after(kFlushDelay, [this] {
    flush_due_ = false;
    flush();
  });
}

void LogBook::remember(LogLine line) {
  AppLines& app = apps_[line.app];
  app.bytes += size_of(line);
  app.lines.push_back(std::move(line));
  while (app.lines.size() > kMaxLinesPerApp || app.bytes > kMaxBytesPerApp) {
    app.bytes -= size_of(app.lines.front());
    app.lines.pop_front();
  }
}

// A follower may leave while it is told.
void LogBook::tell(const LogLine& line) {
  if (follows_.empty()) return;
  std::erase_if(follows_, [](const auto& follow) { return follow.expired(); });
  const auto follows = follows_;
  for (const auto& weak : follows) {
    const auto follow = weak.lock();
    if (follow && matches(follow->query, line)) follow->follower->on_line(line);
  }
}

std::vector<LogLine> LogBook::select(const LogQuery& query) const {
  std::vector<LogLine> selected;
  const auto app = apps_.find(query.app);
  if (app == apps_.end()) return selected;
  const auto& lines = app->second.lines;
  for (auto line = lines.rbegin(); line != lines.rend() && selected.size() < query.last; ++line) {
    if (matches(query, *line)) selected.push_back(*line);
  }
  std::ranges::reverse(selected);
  return selected;
}

std::string LogBook::tail(std::string_view app, ContainerId container, std::size_t lines) const {
  LogQuery query;
  query.app = app;
  query.container = container;
  query.last = lines;
  std::string text;
  for (const LogLine& line : select(query)) {
    if (line.stream == "system") continue;
    text += (text.empty() ? "" : "\n") + line.text;
  }
  return text;
}

std::shared_ptr<void> LogBook::follow(const LogQuery& query,
                                      std::shared_ptr<LogFollower> follower) {
  auto follow = std::make_shared<Follow>(Follow{query, std::move(follower)});
  follows_.push_back(follow);
  return follow;
}

// One write at a time, so that lines stay in order.
void LogBook::flush() {
  if (writing_ || pending_.empty()) return;
  writing_ = true;
  pending_bytes_ = 0;
  background_.run(
      [files = files_, lines = std::exchange(pending_, {})] { return files->write(lines); },
      [this](std::uint64_t lost) {
        writing_ = false;
        dropped_ += lost;
        flush();
      });
}

}  // namespace ember
