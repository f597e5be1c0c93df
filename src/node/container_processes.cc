#include "node/container_processes.h"

#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>
#include <vector>

#include "node/process_table.h"

namespace ember {
namespace {

using Json = nlohmann::json;

// A container may have as many processes as its limit, and each as long a command as it likes.
constexpr std::size_t kMostProcesses = 2048;
constexpr std::size_t kMostCommandBytes = 1024;

std::string read_some(const std::string& path, std::size_t at_most) {
  std::ifstream file(path, std::ios::binary);
  std::string text(at_most, '\0');
  file.read(text.data(), static_cast<std::streamsize>(at_most));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> all;
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return all;
  while (const dirent* item = ::readdir(proc)) {
    const auto pid = static_cast<pid_t>(std::strtol(item->d_name, nullptr, 10));
    if (pid > 0) all.push_back(pid);
  }
  ::closedir(proc);
  std::ranges::sort(all);
  return all;
}

// Its fields from the third on; the name before them, in parentheses, may hold anything.
std::vector<std::string> stat_fields(pid_t pid) {
  const std::string stat = read_some("/proc/" + std::to_string(pid) + "/stat", 4096);
  const auto name_end = stat.rfind(')');
  std::vector<std::string> fields;
  if (name_end == std::string::npos) return fields;
  std::istringstream rest(stat.substr(name_end + 1));
  for (std::string field; rest >> field;) fields.push_back(std::move(field));
  return fields;
}

constexpr std::size_t kState = 0, kSession = 3, kUserTicks = 11, kSystemTicks = 12, kThreads = 17,
                      kStartTicks = 19, kResidentPages = 21, kFields = 22;

std::int64_t number(const std::string& text) { return std::strtoll(text.c_str(), nullptr, 10); }

// Of the lines "name:\tvalue ..." of its status, the last word: for ids the one in the innermost
// namespace.
std::string last_word(const std::string& status, std::string_view name) {
  const auto at = status.find("\n" + std::string(name) + ":");
  if (at == std::string::npos) return "";
  const std::string line = status.substr(at + 1, status.find('\n', at + 1) - at - 1);
  return line.substr(line.find_last_of(" \t") + 1);
}

std::int64_t boot_ms() {
  timespec real{}, boot{};
  ::clock_gettime(CLOCK_REALTIME, &real);
  ::clock_gettime(CLOCK_BOOTTIME, &boot);
  return (real.tv_sec - boot.tv_sec) * 1000 + (real.tv_nsec - boot.tv_nsec) / 1'000'000;
}

std::string command_of(pid_t pid, const std::string& status) {
  std::string words = read_some("/proc/" + std::to_string(pid) + "/cmdline", kMostCommandBytes);
  while (words.ends_with('\0')) words.pop_back();
  std::ranges::replace(words, '\0', ' ');
  if (!words.empty()) return words;
  const auto name = status.find('\t') + 1;  // of the first line, "Name:"
  return "[" + status.substr(name, status.find('\n') - name) + "]";
}

Json entry(pid_t pid, uid_t root_user, std::int64_t booted_ms) {
  const auto fields = stat_fields(pid);
  const std::string status = read_some("/proc/" + std::to_string(pid) + "/status", 8192);
  const auto user = process_user(pid);
  if (fields.size() < kFields || !user) return nullptr;  // it ended just now
  const std::int64_t ticks_per_s = ::sysconf(_SC_CLK_TCK);
  const std::int64_t ticks = number(fields[kUserTicks]) + number(fields[kSystemTicks]);
  return {{"pid", number(last_word(status, "NSpid"))},
          {"user", *user - root_user},
          {"state", fields[kState]},
          {"started_ms", booted_ms + number(fields[kStartTicks]) * 1000 / ticks_per_s},
          {"cpu_ms", ticks * 1000 / ticks_per_s},
          {"rss_bytes", number(fields[kResidentPages]) * ::sysconf(_SC_PAGESIZE)},
          {"threads", number(fields[kThreads])},
          {"command", command_of(pid, status)}};
}

}  // namespace

void signal_session(pid_t session, const Belongs& belongs, int signal) {
  if (session <= 0) return;
  const std::string wanted = std::to_string(session);
  for (const pid_t pid : all_processes()) {
    const auto fields = stat_fields(pid);
    if (fields.size() <= kSession || fields[kSession] != wanted || !belongs(pid)) continue;
    ::kill(pid, signal);
  }
}

std::string processes_json(const Belongs& belongs, uid_t root_user) {
  Json list = Json::array();
  const std::int64_t booted_ms = boot_ms();
  for (const pid_t pid : all_processes()) {
    if (!belongs(pid)) continue;
    if (list.size() == kMostProcesses) break;
    if (Json one = entry(pid, root_user, booted_ms); !one.is_null()) list.push_back(std::move(one));
  }
  return Json{{"processes", std::move(list)}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ember
