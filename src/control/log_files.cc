#include "control/log_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "control/json.h"
#include "node/unique_fd.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxFileBytes = 8 << 20;
constexpr std::size_t kMaxFiles = 1000;
constexpr std::size_t kFilesRead = 200;
constexpr std::streamoff kTailBytes = 64 << 10;
constexpr std::size_t kFilesBetweenSweeps = 50;

std::string to_text(const LogLine& line) {
  return dump_json({{"at_us", line.at.us},
                    {"app", line.app},
                    {"function", line.function},
                    {"container", line.container.value},
                    {"call", line.call.value},
                    {"stream", line.stream},
                    {"text", line.text}}) +
         "\n";
}

// Nothing for the torn line that a crash may leave, or a tail begins with.
std::optional<LogLine> from_text(const std::string& text) {
  auto value = parse_json(text, "log line", 1u << 20);
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
  if (!fields.finish()) return std::nullopt;
  return line;
}

struct LogFile {
  fs::path path;
  fs::file_time_type written;
};

// Newest first.
std::vector<LogFile> files_in(const std::string& directory) {
  std::vector<LogFile> files;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_regular_file(error)) {
      files.push_back({entry->path(), entry->last_write_time(error)});
    }
  }
  std::ranges::sort(files, std::ranges::greater{}, &LogFile::written);
  return files;
}

// Appends; what does not fit goes to a new file. Whether all of it is written.
bool append(const std::string& path, const std::string& bytes) {
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) return false;
  if (status.st_size > 0 && status.st_size + static_cast<off_t>(bytes.size()) > kMaxFileBytes) {
    ::rename(path.c_str(), (path + ".1").c_str());
    file = UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!file) return false;
  }
  if (::fstat(file.get(), &status) != 0) return false;
  const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
  if (written == static_cast<ssize_t>(bytes.size())) return true;
  // All or nothing: the next line would go on in the middle of this one.
  if (written > 0) (void)!::ftruncate(file.get(), status.st_size);
  return false;
}

void read_tail(const fs::path& path, std::vector<LogLine>& lines) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return;
  file.seekg(std::max<std::streamoff>(0, std::streamoff{file.tellg()} - kTailBytes));
  for (std::string text; std::getline(file, text);) {
    if (auto line = from_text(text)) lines.push_back(std::move(*line));
  }
}

}  // namespace

std::uint64_t LogFiles::write(const std::vector<LogLine>& lines) {
  struct Piece {
    std::string bytes;
    std::uint64_t lines = 0;
  };
  std::map<std::string, Piece> pieces;  // by path
  for (const LogLine& line : lines) {
    Piece& piece = pieces[directory_ + "/" + line.app + "/" + line.container.text() + ".log"];
    piece.bytes += to_text(line);
    ++piece.lines;
  }
  std::uint64_t lost = 0;
  for (const auto& [path, piece] : pieces) {
    std::error_code error;
    if (!fs::exists(path, error)) {
      fs::create_directories(fs::path(path).parent_path(), error);
      if (++files_made_ % kFilesBetweenSweeps == 0) remove_old();
    }
    if (!append(path, piece.bytes)) lost += piece.lines;
  }
  return lost;
}

void LogFiles::remove_old() {
  const auto files = files_in(directory_);
  for (std::size_t i = kMaxFiles; i < files.size(); ++i) {
    std::error_code ignored;
    fs::remove(files[i].path, ignored);
  }
}

std::vector<LogLine> LogFiles::read_back() {
  remove_old();
  std::vector<LogLine> lines;
  const auto files = files_in(directory_);
  for (std::size_t i = 0; i < std::min(files.size(), kFilesRead); ++i) {
    read_tail(files[i].path, lines);
  }
  std::ranges::stable_sort(lines, {}, [](const LogLine& line) { return line.at; });
  return lines;
}

}  // namespace ember
