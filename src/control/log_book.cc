#include "control/log_book.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace ember {
namespace {

constexpr Duration kFlushDelay = Duration::milliseconds(200);
constexpr std::size_t kMaxBytesPerApp = 4u << 20;
constexpr std::size_t kMaxBytes = 32u << 20;
constexpr std::size_t kMaxPendingBytes = 16u << 20;        // when the disk does not keep up
constexpr std::size_t kMaxPendingPerContainer = 8u << 20;  // one leaves room for the others
constexpr std::size_t kFlushBytes = 1u << 20;              // are written without delay
constexpr std::size_t kMaxTogether = 32u << 10;

std::size_t size_of(const LogLine& line) {
  return sizeof line + line.app.size() + line.function.size() + line.text.size();
}

std::uint64_t lines_in(const std::string& text) {
  return 1 + static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
}

bool belongs_with(const LogLine& earlier, const LogLine& line) {
  return earlier.container == line.container && earlier.call == line.call &&
         earlier.at.whole_ms() == line.at.whole_ms() && earlier.stream == line.stream &&
         !earlier.dropped && !line.dropped && earlier.text.size() + line.text.size() < kMaxTogether;
}

std::string with_separators(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

std::string size_text(std::uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  auto amount = static_cast<double>(bytes) / 1e3;
  const char* unit = "kB";
  for (const char* next : {"MB", "GB"}) {
    if (amount < 1000) break;
    amount /= 1e3;
    unit = next;
  }
  return fmt::format("{:.1f} {}", amount, unit);
}

std::string gap_text(DroppedLogs dropped) {
  return fmt::format("… {} {} ({}) dropped", with_separators(dropped.lines),
                     dropped.lines == 1 ? "line" : "lines", size_text(dropped.bytes));
}

}  // namespace

LogBook::LogBook(const std::string& data, LogLimits limits, EngineDriver& driver,
                 Background& background)
    : driver_(driver),
      background_(background),
      directory_(data + "/logs"),
      files_(std::make_shared<LogFiles>(directory_, limits)) {}

void LogBook::append(LogLine line) {
  last_ = std::max(line.at, last_ + Duration{1});
  line.at = last_;
  if (!follows_.empty()) tell(line);
  const AppLines& app = apps_[line.app];
  const bool joins = !pending_.empty() && !app.lines.empty() &&
                     app.lines.back().at == pending_.back().at &&
                     belongs_with(pending_.back(), line);
  const bool kept = keep(line, joins);
  remember(std::move(line), joins && kept);
}

void LogBook::append_gap(LogLine line, DroppedLogs dropped) {
  sources_.try_emplace(line.container);
  count(line, dropped);
  line.stream = "system";
  line.text = gap_text(dropped);
  line.dropped = dropped;
  append(std::move(line));
}

void LogBook::count(const LogLine& line, DroppedLogs dropped) {
  dropped_[{line.app, line.function}] += dropped;
  // One that has ended may have had lines on their way to the disk.
  const auto source = sources_.find(line.container);
  if (source != sources_.end()) source->second.dropped += dropped;
}

// A line that the files will not have.
void LogBook::lose(const LogLine& line) {
  const DroppedLogs lost =
      line.dropped ? DroppedLogs{} : DroppedLogs{lines_in(line.text), line.text.size()};
  count(line, lost);
  // A gap that was counted when it came is told with the next.
  const auto source = sources_.find(line.container);
  if (source != sources_.end()) source->second.unwritten += line.dropped ? line.dropped : lost;
}

// For the files, a little later and together; false where there is no room.
bool LogBook::keep(const LogLine& line, bool joins) {
  Source& source = sources_[line.container];
  const std::size_t size = size_of(line);
  if (pending_bytes_ + size > kMaxPendingBytes ||
      source.pending_bytes + size > kMaxPendingPerContainer) {
    lose(line);
    return false;
  }
  if (source.unwritten) {
    LogLine gap = line;
    gap.call = {};
    gap.stream = "system";
    gap.dropped = std::exchange(source.unwritten, {});
    gap.text = gap_text(gap.dropped);
    source.pending_bytes += size_of(gap);
    pending_bytes_ += size_of(gap);
    pending_.push_back(std::move(gap));
    joins = false;
  }
  source.pending_bytes += size;
  pending_bytes_ += size;
  if (joins) {
    pending_.back().text.append(1, '\n').append(line.text);
  } else {
    pending_.push_back(line);
  }
  if (pending_bytes_ >= kFlushBytes) flush();
  if (!pending_.empty() && !std::exchange(flush_due_, true)) flush_soon();
  return true;
}

void LogBook::flush_soon() {
  driver_.after(kFlushDelay, [this] {
    flush_due_ = false;
    flush();
  });
}

void LogBook::remember(LogLine line, bool joins) {
  AppLines& app = apps_[line.app];
  std::size_t size = size_of(line);
  if (joins) {
    size = line.text.size() + 1;
    app.lines.back().text.append(1, '\n').append(line.text);
  } else {
    app.lines.push_back(std::move(line));
  }
  app.bytes += size;
  bytes_ += size;
  while (app.bytes > kMaxBytesPerApp) forget_oldest(app);
  while (bytes_ > kMaxBytes) halve_largest();
}

// Much at once, for the look at all apps is dear where each `ember run` has left one.
void LogBook::halve_largest() {
  const auto largest =
      std::ranges::max_element(apps_, {}, [](const auto& entry) { return entry.second.bytes; });
  const std::size_t half = largest->second.bytes / 2;
  while (largest->second.bytes > half) forget_oldest(largest->second);
  if (largest->second.lines.empty()) apps_.erase(largest);
}

void LogBook::forget_oldest(AppLines& app) {
  const std::size_t size = size_of(app.lines.front());
  app.bytes -= size;
  bytes_ -= size;
  app.lines.pop_front();
}

// A follower may leave while it is told.
void LogBook::tell(const LogLine& line) {
  std::erase_if(follows_, [](const auto& follow) { return follow.expired(); });
  const auto follows = follows_;
  for (const auto& weak : follows) {
    const auto follow = weak.lock();
    if (!follow || !matches(follow->query, line)) continue;
    std::vector<LogLine> newest_first;
    split_into(newest_first, line, line.text.size() + 1, follow->search);
    for (auto one = newest_first.rbegin(); one != newest_first.rend(); ++one) {
      follow->follower->on_line(*one);
    }
  }
}

std::vector<LogLine> LogBook::recent(const LogQuery& query) const {
  std::vector<LogLine> selected;
  const auto app = apps_.find(query.app);
  if (app == apps_.end()) return selected;
  const auto& lines = app->second.lines;
  const LineSearch search(query.search);
  for (auto line = lines.rbegin(); line != lines.rend() && selected.size() < query.last; ++line) {
    if (line->at < query.since) break;
    if (matches(query, *line)) split_into(selected, *line, query.last, search);
  }
  std::ranges::reverse(selected);
  return selected;
}

void LogBook::select(const LogQuery& query, std::function<void(std::vector<LogLine>)> done) {
  auto lines = recent(query);
  if (lines.size() >= query.last) return done(std::move(lines));
  const auto app = apps_.find(query.app);
  const bool remembers = app != apps_.end() && !app->second.lines.empty();
  LogQuery rest = query;
  rest.last -= lines.size();
  auto read = [this, rest = std::move(rest), done = std::move(done), lines = std::move(lines),
               before = remembers ? app->second.lines.front().at : Time::never()]() mutable {
    background_.run(
        [directory = directory_, rest = std::move(rest), before] {
          return read_logs(directory, rest, before);
        },
        [done = std::move(done), lines = std::move(lines)](std::vector<LogLine> older) mutable {
          older.insert(older.end(), std::make_move_iterator(lines.begin()),
                       std::make_move_iterator(lines.end()));
          done(std::move(older));
        });
  };
  if (is_written()) return read();
  readers_.push_back(std::move(read));
  flush();
}

std::string LogBook::tail(std::string_view app, ContainerId container, std::size_t lines) const {
  LogQuery query;
  query.app = app;
  query.container = container;
  query.last = lines;
  std::string text;
  for (const LogLine& line : recent(query)) {
    if (line.stream == "system") continue;
    text += (text.empty() ? "" : "\n") + line.text;
  }
  return text;
}

std::shared_ptr<void> LogBook::follow(const LogQuery& query,
                                      std::shared_ptr<LogFollower> follower) {
  auto follow =
      std::make_shared<Follow>(Follow{query, LineSearch(query.search), std::move(follower)});
  follows_.push_back(follow);
  return follow;
}

DroppedLogs LogBook::dropped_by(ContainerId container) const {
  const auto found = sources_.find(container);
  return found == sources_.end() ? DroppedLogs{} : found->second.dropped;
}

DroppedLogs LogBook::dropped_by(const std::string& app, const std::string& function) const {
  const auto found = dropped_.find({app, function});
  return found == dropped_.end() ? DroppedLogs{} : found->second;
}

// One write at a time, so that lines stay in order.
void LogBook::flush() {
  if (writing_ || pending_.empty()) return;
  writing_ = true;
  pending_bytes_ = 0;
  for (auto& [container, source] : sources_) source.pending_bytes = 0;
  background_.run(
      [files = files_, lines = std::exchange(pending_, {})] { return files->write(lines); },
      [this](const std::vector<LogLine>& lost) { flushed(lost); });
}

void LogBook::flushed(const std::vector<LogLine>& lost) {
  writing_ = false;
  for (const LogLine& line : lost) {
    lose(line);
    if (!line.dropped) lines_unwritten_ += lines_in(line.text);
  }
  for (const auto& read : std::exchange(readers_, {})) read();
  flush();
}

}  // namespace ember
