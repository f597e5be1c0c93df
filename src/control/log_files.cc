#include "control/log_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <ranges>

#include "control/json.h"
#include "node/unique_fd.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxDocumentBytes = 4u << 20;  // every byte of a frame may take six

constexpr auto kWritten = [](const auto& entry) { return entry.second.written; };

std::int64_t bytes_of(const auto& files) {
  return std::accumulate(
      files.begin(), files.end(), std::int64_t{0},
      [](std::int64_t sum, const auto& file) { return sum + file.second.bytes; });
}

// Files of before have it by its older name.
std::uint64_t dropped_count(Fields& fields, const char* name, const char* older_name) {
  const std::int64_t of_before = fields.integer_or(older_name, 0);
  return static_cast<std::uint64_t>(fields.integer_or(name, of_before));
}

bool ends_a_line(const std::string& path, std::int64_t bytes) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char last = '\n';
  return bytes == 0 || (file && ::pread(file.get(), &last, 1, bytes - 1) == 1 && last == '\n');
}

}  // namespace

std::string to_text(const LogLine& line) {
  JsonValue document{{"at_us", line.at.us},       {"app", line.app},
                     {"function", line.function}, {"container", line.container.value},
                     {"call", line.call.value},   {"stream", line.stream},
                     {"text", line.text}};
  if (line.dropped) {
    document["log_lines_dropped"] = line.dropped.lines;
    document["log_bytes_dropped"] = line.dropped.bytes;
  }
  return dump_json(document) + "\n";
}

std::optional<LogLine> from_text(const std::string& text) {
  auto value = parse_json(text, "log line", kMaxDocumentBytes);
  if (!value) return std::nullopt;
  Fields fields(*value, "");
  LogLine line;
  line.at = Time{fields.integer_or("at_us", 0)};
  line.app = fields.text("app");
  line.function = fields.text("function");
  line.container.value = static_cast<std::uint64_t>(fields.integer_or("container", 0));
  line.call.value = static_cast<std::uint64_t>(fields.integer_or("call", 0));
  line.stream = fields.text("stream");
  line.text = fields.text("text");
  line.dropped.lines = dropped_count(fields, "log_lines_dropped", "dropped_lines");
  line.dropped.bytes = dropped_count(fields, "log_bytes_dropped", "dropped_bytes");
  if (!fields.finish()) return std::nullopt;
  return line;
}

std::vector<LogLine> LogFiles::write(const std::vector<LogLine>& lines) {
  if (!std::exchange(found_, true)) find_files();
  std::map<std::pair<std::string, ContainerId>, std::vector<const LogLine*>> parts;
  for (const LogLine& line : lines) parts[{line.app, line.container}].push_back(&line);
  std::vector<LogLine> lost;
  for (const auto& [whose, part] : parts) {
    const auto& [app, container] = whose;
    const std::string path = directory_ + "/" + app + "/" + container.text() + ".log";
    std::string bytes;
    std::size_t kept = 0;  // of the part
    const auto flush = [&](std::size_t until) {
      if (!bytes.empty() && !append(app, path, bytes)) {
        for (std::size_t i = kept; i < until; ++i) lost.push_back(*part[i]);
      }
      kept = until;
      bytes.clear();
    };
    for (std::size_t i = 0; i < part.size(); ++i) {
      const std::string text = to_text(*part[i]);
      const auto room = limits_.container_bytes / 2 - apps_[app][path].bytes;
      if (static_cast<std::int64_t>(bytes.size() + text.size()) > room) {
        flush(i);
        if (apps_[app][path].bytes > 0) rotate(app, path);
      }
      bytes += text;
    }
    flush(part.size());
  }
  make_room();
  return lost;
}

void LogFiles::find_files() {
  struct Found {
    fs::path path;
    fs::file_time_type written;
    std::int64_t bytes;
  };
  std::vector<Found> found;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(directory_, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!entry->is_regular_file(error)) continue;
    found.push_back({entry->path(), entry->last_write_time(error),
                     static_cast<std::int64_t>(entry->file_size(error))});
  }
  std::ranges::sort(found, {}, &Found::written);
  for (const Found& file : found) {
    apps_[file.path.parent_path().filename()][file.path] = {file.bytes, ++writes_, false};
  }
}

// What is written by half, on a full disk, is taken back.
bool LogFiles::append(const std::string& app, const std::string& path, const std::string& bytes) {
  File& known = apps_[app][path];
  std::error_code ignored;
  if (known.bytes == 0) fs::create_directories(fs::path(path).parent_path(), ignored);
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) return false;
  const bool torn = !known.seen_whole && !ends_a_line(path, status.st_size);
  const std::string mended = torn ? "\n" + bytes : bytes;
  known.written = ++writes_;
  const ssize_t written = ::write(file.get(), mended.data(), mended.size());
  if (written != static_cast<ssize_t>(mended.size())) {
    known.bytes = status.st_size;
    if (written > 0) known.seen_whole = ::ftruncate(file.get(), status.st_size) == 0 && !torn;
    return false;
  }
  known.bytes = status.st_size + written;
  known.seen_whole = true;
  return true;
}

// A crash on the way leaves one file or the other, each whole.
void LogFiles::rotate(const std::string& app, const std::string& path) {
  if (::rename(path.c_str(), (path + ".1").c_str()) != 0) return;
  Files& files = apps_[app];
  files[path + ".1"] = files[path];
  files[path] = {};
}

void LogFiles::make_room() {
  std::int64_t total = 0;
  std::size_t count = 0;
  for (auto& [app, files] : apps_) {
    while (files.size() > 1 && bytes_of(files) > limits_.app_bytes) remove_oldest(files);
    total += bytes_of(files);
    count += files.size();
  }
  while (count > 1 && (total > limits_.total_bytes || count > limits_.files)) {
    auto oldest = apps_.end();
    for (auto app = apps_.begin(); app != apps_.end(); ++app) {
      const auto when = [](const Files& files) {
        return std::ranges::min(files | std::views::transform(kWritten));
      };
      if (app->second.empty()) continue;
      if (oldest == apps_.end() || when(app->second) < when(oldest->second)) oldest = app;
    }
    total -= bytes_of(oldest->second);
    remove_oldest(oldest->second);
    total += bytes_of(oldest->second);
    --count;
    if (!oldest->second.empty()) continue;
    std::error_code ignored;
    fs::remove(directory_ + "/" + oldest->first, ignored);
    apps_.erase(oldest);
  }
}

void LogFiles::remove_oldest(Files& of) {
  const auto oldest = std::ranges::min_element(of, {}, kWritten);
  std::error_code ignored;
  fs::remove(oldest->first, ignored);
  of.erase(oldest);
}

}  // namespace ember
