#include "node/container_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/disk_error.h"
#include "node/json_fields.h"
#include "node/node_messages.h"

namespace ember {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr off_t kOutputLimit = 1 << 20;
constexpr std::size_t kOutputKept = 64 << 10;
constexpr std::size_t kOutputTurn = 256 << 10;  // from a pipe at a time

Error failed(const std::string& what, const std::string& path) {
  return disk_error(path, errno).within(what);
}

Result<> make_directory(const std::string& path, mode_t mode) {
  // The mode is set apart from mkdir, whose umask would narrow it.
  if ((::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) || ::chmod(path.c_str(), mode) != 0) {
    return failed("make directory", path);
  }
  return Ok{};
}

Result<> write_all(int file, const std::string& text, const std::string& path) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t written = ::write(file, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) return failed("write", path);
    if (written > 0) done += static_cast<std::size_t>(written);
  }
  return Ok{};
}

bool sync_directory_of(const std::string& path) {
  const UniqueFd directory(
      ::open(fs::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return directory && ::fsync(directory.get()) == 0;
}

Result<> write_identity(const std::string& path, const ProcessIdentity& process) {
  return write_file(
      path, std::to_string(process.pid) + " " + std::to_string(process.start_ticks) + "\n", 0600);
}

std::optional<ProcessIdentity> read_identity(const std::string& path) {
  std::ifstream file(path);
  ProcessIdentity process;
  if (!(file >> process.pid) || process.pid <= 0) return std::nullopt;
  file >> process.start_ticks;  // missing where the node died right after the start
  return process;
}

std::string tail_of(int file, off_t size, std::size_t at_most) {
  const off_t from = std::max<off_t>(0, size - static_cast<off_t>(at_most));
  std::string text(static_cast<std::size_t>(size - from), '\0');
  const ssize_t got = ::pread(file, text.data(), text.size(), from);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  if (from > 0) {
    const auto line_end = text.find('\n');
    if (line_end != std::string::npos) text.erase(0, line_end + 1);
  }
  return text;
}

}  // namespace

namespace {

Result<> write_and_rename(const std::string& path, const std::string& beside,
                          const std::string& text, mode_t mode, Durable durable) {
  const UniqueFd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!file || ::fchmod(file.get(), mode) != 0) return failed("create", beside);
  if (auto written = write_all(file.get(), text, beside); !written.ok()) return written;
  if (durable == Durable::yes && ::fsync(file.get()) != 0) return failed("sync", beside);
  if (::rename(beside.c_str(), path.c_str()) != 0) return failed("rename to", path);
  if (durable == Durable::yes && !sync_directory_of(path)) return failed("sync directory of", path);
  return Ok{};
}

}  // namespace

Result<> write_file(const std::string& path, const std::string& text, mode_t mode,
                    Durable durable) {
  // Of this process alone: a child between fork and exec may write the same file.
  const std::string beside = path + ".new" + std::to_string(::getpid());
  auto written = write_and_rename(path, beside, text, mode, durable);
  if (!written.ok()) ::unlink(beside.c_str());
  return written;
}

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

ContainerFiles::ContainerFiles(const std::string& node_directory, ContainerId container)
    : directory_(node_directory + "/containers/" + container.text()) {}

Result<> ContainerFiles::create(const ContainerMeta& record,
                                const std::string& function_json) const {
  const std::pair<std::string, mode_t> directories[] = {
      {directory_, 0711}, {run_directory(), 0755}, {home_directory(), 0700}};
  for (const auto& [path, mode] : directories) {
    if (auto made = make_directory(path, mode); !made.ok()) return made;
  }
  Json devices = Json::array();
  for (const DeviceId device : record.devices) devices.push_back(device.text());
  const Json meta{{"container", record.container.text()},
                  {"labels", record.labels_json},
                  {"devices", std::move(devices)},
                  {"started_us", record.started.us},
                  {"cpu_millicores", record.resources.cpu_millicores},
                  {"memory_bytes", record.resources.memory_bytes},
                  {"gpu_share_bytes", record.resources.gpu.share_bytes},
                  {"isolation", record.isolation},
                  {"slot", record.slot},
                  {"layers", record.layers}};
  auto written = write_file(directory_ + "/meta.json", meta.dump(), 0600);
  if (!written.ok()) return written;
  return write_file(run_directory() + "/function.json", function_json, 0444);
}

Result<> ContainerFiles::write_runner(const ProcessIdentity& runner) const {
  return write_identity(pid_path(), runner);
}

Result<> ContainerFiles::write_network(const std::string& record) const {
  return write_file(directory_ + "/network", record + "\n", 0600);
}

Result<> ContainerFiles::write_destinations(const std::vector<std::string>& destinations) const {
  std::string lines;
  for (const std::string& one : destinations) lines += one + "\n";
  return write_file(directory_ + "/destinations", lines, 0600);
}

Result<> ContainerFiles::keep_exit(const ContainerExit& exit) const {
  const auto write = [&] {
    return write_file(directory_ + "/exit.json", encode(NodeMessage(exit)), 0600, Durable::yes);
  };
  auto written = write();
  if (!written.ok()) {
    remove_all_but({"meta.json", "pid"});
    written = write();
  }
  if (written.ok()) remove_all_but_exit();
  return written;
}

Result<ContainerMeta> ContainerFiles::read_record() const {
  const auto text = read_file(directory_ + "/meta.json");
  if (!text) return {ErrorCode::not_found, directory_ + ": no meta.json"};
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  JsonFields fields(json);
  ContainerMeta record;
  record.container = fields.id<ContainerId>("container");
  record.labels_json = fields.text("labels");
  record.devices = fields.ids<DeviceId>("devices");
  record.started = fields.time("started_us");
  record.resources.cpu_millicores = fields.integer("cpu_millicores");
  record.resources.memory_bytes = fields.integer("memory_bytes");
  record.resources.gpu.share_bytes = fields.integer_or("gpu_share_bytes", 0);
  record.isolation = fields.text("isolation");
  record.slot = fields.narrow<std::uint32_t>("slot");
  record.layers = fields.texts_or_none("layers");
  if (auto fine = fields.check(); !fine.ok()) return std::move(fine).error();
  return record;
}

std::optional<ProcessIdentity> ContainerFiles::read_runner() const {
  return read_identity(pid_path());
}

std::optional<std::string> ContainerFiles::read_network() const {
  auto record = read_file(directory_ + "/network");
  if (record && record->ends_with('\n')) record->pop_back();
  return record;
}

std::optional<std::vector<std::string>> ContainerFiles::read_destinations() const {
  auto text = read_file(directory_ + "/destinations");
  if (!text) return std::nullopt;
  std::vector<std::string> destinations;
  std::istringstream lines(std::move(*text));
  for (std::string line; std::getline(lines, line);) destinations.push_back(line);
  return destinations;
}

std::optional<ContainerExit> ContainerFiles::read_exit() const {
  const auto text = read_file(directory_ + "/exit.json");
  if (!text) return std::nullopt;
  auto exit = decode_exit(*text);
  if (!exit.ok()) return std::nullopt;
  return std::move(*exit);
}

Result<UniqueFd> ContainerFiles::make_output_pipe() const {
  if (::mkfifo(pipe_path().c_str(), 0600) != 0 && errno != EEXIST) {
    return failed("make", pipe_path());
  }
  // For reading too: then nobody who writes is ended because the node is not there to read.
  UniqueFd pipe(::open(pipe_path().c_str(), O_RDWR | O_CLOEXEC));
  if (!pipe) return failed("open", pipe_path());
  return pipe;
}

UniqueFd ContainerFiles::hold_output() const {
  return UniqueFd(::open(pipe_path().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
}

void ContainerFiles::empty_pipe(std::size_t at_most) const {
  const UniqueFd pipe = hold_output();
  if (!pipe) return;
  const UniqueFd file(
      ::open(output_path().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  std::string bytes(kOutputKept, '\0');
  for (std::size_t taken = 0; file && taken < at_most;) {
    const ssize_t got = ::read(pipe.get(), bytes.data(), bytes.size());
    if (got <= 0) return;
    const auto size = static_cast<std::size_t>(got);
    (void)write_all(file.get(), bytes.substr(0, size), output_path()).ok();
    taken += size;
  }
}

std::string ContainerFiles::last_output(std::size_t at_most) const {
  empty_pipe(kOutputLimit);
  const UniqueFd file(::open(output_path().c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status;
  if (!file || ::fstat(file.get(), &status) != 0) return "";
  return tail_of(file.get(), status.st_size, at_most);
}

void ContainerFiles::take_output() const {
  empty_pipe(kOutputTurn);
  const UniqueFd file(::open(output_path().c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
  struct stat status;
  if (!file || ::fstat(file.get(), &status) != 0 || status.st_size <= kOutputLimit) return;
  const std::string kept = tail_of(file.get(), status.st_size, kOutputKept);
  // The runner appends too: what it writes between these two calls comes before the kept lines.
  if (::ftruncate(file.get(), 0) == 0) (void)write_all(file.get(), kept, output_path()).ok();
}

void ContainerFiles::remove_all_but_exit() const { remove_all_but({"exit.json"}); }

void ContainerFiles::remove_all_but(const std::set<std::string>& kept) const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory_, ignored)) {
    if (!kept.contains(entry.path().filename().string())) fs::remove_all(entry.path(), ignored);
  }
}

void ContainerFiles::remove() const {
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

std::vector<ContainerId> containers_on_disk(const std::string& node_directory) {
  std::vector<ContainerId> all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(node_directory + "/containers", ignored)) {
    if (const auto id = ContainerId::parse(entry.path().filename().string())) all.push_back(*id);
  }
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace ember
