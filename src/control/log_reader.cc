// Reading log files from their ends, where the newest lines are.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <set>

#include "control/id_source.h"
#include "control/json.h"
#include "control/log_files.h"
#include "node/unique_fd.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBlockBytes = 256 << 10;
constexpr Duration kClockSlack = Duration::seconds(2);  // of file times, which may be coarse

struct OpenFile {
  UniqueFd file;
  ino_t inode = 0;
  std::int64_t bytes = 0;
  Time written;
};

std::optional<OpenFile> open_file(const fs::path& path) {
  OpenFile opened{UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), 0, 0, {}};
  struct stat status {};
  if (!opened.file || ::fstat(opened.file.get(), &status) != 0) return std::nullopt;
  opened.inode = status.st_ino;
  opened.bytes = status.st_size;
  opened.written = Time{status.st_mtim.tv_sec * 1'000'000 + status.st_mtim.tv_nsec / 1000};
  return opened;
}

// The files that may have such lines, the last written first. A file that is rotated meanwhile is
// met once.
std::vector<OpenFile> files_for(const std::string& directory, const LogQuery& query) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator entry(directory + "/" + query.app, error), end;
       !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (query.container && !name.starts_with(query.container->text() + ".log")) continue;
    paths.push_back(entry->path());
  }
  std::vector<OpenFile> files;
  std::set<ino_t> inodes;
  // A call's id tells when it began: what was written before has nothing of it.
  Time since = query.since - kClockSlack;
  if (query.call) since = std::max(since, IdSource::made_at(query.call->value) - kClockSlack);
  for (const fs::path& path : paths) {
    auto opened = open_file(path);
    if (!opened || opened->written < since || !inodes.insert(opened->inode).second) continue;
    files.push_back(std::move(*opened));
  }
  std::ranges::sort(files, std::ranges::greater{}, &OpenFile::written);
  return files;
}

// Gives the file's lines from the last to the first, until `wants_more` says no.
void read_backwards(const OpenFile& file, const std::function<bool(std::string)>& wants_more) {
  std::string rest;  // the end of a line whose begin lies before
  std::string block;
  for (std::int64_t at = file.bytes; at > 0;) {
    const std::int64_t size = std::min(kBlockBytes, at);
    at -= size;
    block.resize(static_cast<std::size_t>(size));
    if (::pread(file.file.get(), block.data(), block.size(), at) != size) return;
    block += rest;
    for (std::size_t end = block.rfind('\n'); end != std::string::npos; end = block.rfind('\n')) {
      if (end + 1 < block.size() && !wants_more(block.substr(end + 1))) return;
      block.resize(end);
    }
    rest = std::move(block);
    block.clear();
  }
  if (!rest.empty()) wants_more(std::move(rest));
}

// What a document that matches has in it somewhere: quotes in texts are escaped.
std::string mark_of(const LogQuery& query) {
  if (query.call) return "\"call\":" + std::to_string(query.call->value) + ",";
  if (!query.function.empty()) return "\"function\":" + dump_json(query.function) + ",";
  return "";
}

// A document begins with its time: what is too old or too new need not be read whole.
std::optional<Time> time_of(const std::string& text) {
  constexpr std::string_view kBegin = "{\"at_us\":";
  if (!text.starts_with(kBegin)) return std::nullopt;
  Time at;
  std::from_chars(text.data() + kBegin.size(), text.data() + text.size(), at.us);
  return at;
}

std::vector<LogLine> newest_of(const OpenFile& file, const LogQuery& query, Time before) {
  std::vector<LogLine> newest_first;
  const std::string mark = mark_of(query);
  const LineSearch search(query.search);
  read_backwards(file, [&](std::string text) {
    const auto at = time_of(text);
    if (!at || *at >= before) return true;
    if (*at < query.since) return false;
    if (text.find(mark) == std::string::npos) return true;
    const auto line = from_text(text);
    if (line && matches(query, *line)) split_into(newest_first, *line, query.last, search);
    return newest_first.size() < query.last;
  });
  return newest_first;
}

}  // namespace

bool matches(const LogQuery& query, const LogLine& line) {
  return line.at >= query.since && line.at <= query.until && line.app == query.app &&
         (query.function.empty() || line.function == query.function) &&
         (!query.container || line.container == *query.container) &&
         (!query.call || line.call == *query.call);
}

void split_into(std::vector<LogLine>& newest_first, const LogLine& line, std::size_t most,
                const LineSearch& search) {
  for (std::size_t end = line.text.size(); newest_first.size() < most;) {
    const std::size_t before = end == 0 ? std::string::npos : line.text.rfind('\n', end - 1);
    const std::size_t begin = before == std::string::npos ? 0 : before + 1;
    const std::string_view text = std::string_view(line.text).substr(begin, end - begin);
    if (search.finds(text)) {
      newest_first.push_back({line.at, line.app, line.function, line.container, line.call,
                              line.stream, std::string(text), line.dropped});
    }
    if (before == std::string::npos) return;
    end = before;
  }
}

std::vector<LogLine> read_logs(const std::string& directory, const LogQuery& query, Time before) {
  std::vector<LogLine> lines;  // the newest first
  for (const OpenFile& file : files_for(directory, query)) {
    const bool enough = lines.size() >= query.last;
    if (enough && (lines.empty() || file.written + kClockSlack < lines.back().at)) break;
    auto more = newest_of(file, query, before);
    lines.insert(lines.end(), std::make_move_iterator(more.begin()),
                 std::make_move_iterator(more.end()));
    std::ranges::stable_sort(lines, std::ranges::greater{}, &LogLine::at);
    if (lines.size() > query.last) lines.resize(query.last);
  }
  std::ranges::reverse(lines);
  return lines;
}

}  // namespace ember
