// What this machine has: disks, a clock, programs, GPUs.
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <thread>

#include "base/disk_error.h"
#include "base/wall_clock.h"
#include "node/doctor.h"
#include "node/gpu_grant.h"
#include "node/gpu_report.h"
#include "node/runner_env.h"
#include "node/uv.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

// --- disks ---

constexpr std::uint64_t kLeastBytes = 256ull << 20;
constexpr std::uint64_t kFewBytes = 2ull << 30;
constexpr std::uint64_t kLeastInodes = 1'000;
constexpr std::uint64_t kFewInodes = 20'000;

// Writes a file and has it reach the disk: 0 or the errno that forbids it.
int try_write(const std::string& directory) {
  std::string path = directory + "/.doctor-XXXXXX";
  const UniqueFd file(::mkstemp(path.data()));
  if (!file) return errno;
  const std::string page(4096, 'x');
  const bool written =
      ::write(file.get(), page.data(), page.size()) == 4096 && ::fsync(file.get()) == 0;
  const int error = written ? 0 : errno;
  ::unlink(path.c_str());
  return error;
}

Finding examine_disk(const std::string& directory) {
  constexpr const char* kCheck = "disk";
  if (const int error = try_write(directory)) {
    if (error == EACCES || error == EPERM) {
      return {Verdict::warning, kCheck, directory + ": this user may not write there",
              "look as the user who runs Ember"};
    }
    return {Verdict::trouble, kCheck, disk_error(directory, error).message,
            "free or mend that disk; Ember goes on by itself"};
  }
  struct statvfs disk {};
  if (::statvfs(directory.c_str(), &disk) != 0) {
    return {Verdict::trouble, kCheck, disk_error(directory, errno).message, "mend that disk"};
  }
  const std::uint64_t bytes = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  const bool counts_inodes = disk.f_files > 0;
  const std::string text =
      fmt::format("{}: {:.1f} GB free{}", directory, static_cast<double>(bytes) / 1e9,
                  counts_inodes ? fmt::format(", {} inodes", disk.f_favail) : "");
  constexpr const char* kAdvice = "free some room, or name a data directory on another disk";
  if (bytes < kLeastBytes || (counts_inodes && disk.f_favail < kLeastInodes)) {
    return {Verdict::trouble, kCheck, text + ": too little", kAdvice};
  }
  if (bytes < kFewBytes || (counts_inodes && disk.f_favail < kFewInodes)) {
    return {Verdict::warning, kCheck, text + ": little", kAdvice};
  }
  return {Verdict::ok, kCheck, text, ""};
}

// --- the clock ---

const Time kEmberIsYoungerThan = Time::from_ms(1'764'000'000'000);  // 2025-11-24
constexpr Duration kDriftWatch = Duration::milliseconds(300);
constexpr Duration kMostDrift = Duration::milliseconds(5);
constexpr Duration kFuture = Duration::seconds(60);

// How much more the wall clock went on than the monotonic one.
Duration drift() {
  const auto read = [] { return std::pair(wall_clock(), std::chrono::steady_clock::now()); };
  const auto [wall_before, steady_before] = read();
  std::this_thread::sleep_for(std::chrono::microseconds(kDriftWatch.us));
  const auto [wall, steady] = read();
  const auto passed = std::chrono::duration_cast<std::chrono::microseconds>(steady - steady_before);
  return (wall - wall_before) - Duration{passed.count()};
}

std::optional<Time> last_seen(const std::string& data) {
  struct stat status {};
  if (::stat((data + "/node/last_seen").c_str(), &status) != 0) return std::nullopt;
  return Time{status.st_mtim.tv_sec * 1'000'000 + status.st_mtim.tv_nsec / 1000};
}

// --- programs ---

// The first line of what the program says of its version; nothing if it cannot be run.
std::optional<std::string> version_of(const std::string& path) {
  std::string quoted = "'";
  for (const char c : path) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  FILE* out = ::popen((quoted + "' --version 2>&1").c_str(), "re");
  if (out == nullptr) return std::nullopt;
  std::array<char, 256> line{};
  const bool any = std::fgets(line.data(), line.size(), out) != nullptr;
  const int status = ::pclose(out);
  if (!any || status != 0) return std::nullopt;
  std::string text = line.data();
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

struct Needed {
  std::string name;
  Verdict without;
  const char* lost;  // what does not work without it
  const char* advice;
};

Finding examine_program(const Needed& needed) {
  const std::string check = fs::path(needed.name).filename().string();
  const auto path = find_program(needed.name);
  if (!path) {
    return {needed.without, check, "not installed: " + std::string(needed.lost), needed.advice};
  }
  const auto version = version_of(*path);
  if (!version) {
    return {needed.without, check, *path + " does not run: " + needed.lost, needed.advice};
  }
  return {Verdict::ok, check, *path + ", " + *version, ""};
}

// --- GPUs ---

std::string first_word_of(const fs::path& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// NVIDIA's display and 3D controllers on the bus, whatever drives them.
int nvidia_devices_on_the_bus() {
  int found = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/sys/bus/pci/devices", ignored)) {
    found += first_word_of(entry.path() / "vendor") == "0x10de" &&
             first_word_of(entry.path() / "class").starts_with("0x03");
  }
  return found;
}

Finding examine_gpu(const GpuReport::Entry& entry) {
  constexpr const char* kCheck = "GPU";
  const Gpu& gpu = entry.gpu;
  const std::string text =
      fmt::format("{}: {} ({}), {} MiB", gpu.index, entry.type, gpu.name, gpu.memory_bytes >> 20);
  if (gpu.mig == MigMode::on) {
    return {Verdict::warning, kCheck, text + ", in MIG mode: left alone",
            "end MIG mode (`nvidia-smi -mig 0`) to lend it to Ember"};
  }
  if (auto granted = grant_gpus({gpu}, {}); !granted.ok()) {
    return {Verdict::trouble, kCheck, text + ": " + granted.error().message,
            "make its nodes: `nvidia-modprobe -u -c 0`, or run nvidia-smi once as root"};
  }
  if (!entry.readings.processes.empty()) {
    return {Verdict::warning, kCheck,
            fmt::format("{}, used by process {}", text, entry.readings.processes.front().pid),
            "end that process to lend the device to Ember, unless it is a function of its own"};
  }
  return {Verdict::ok, kCheck, text + ", its device nodes are there", ""};
}

}  // namespace

std::vector<Finding> examine_disks(const std::string& data) {
  struct stat status {};
  if (::stat(data.c_str(), &status) != 0) {
    const std::string parent = fs::absolute(data).parent_path().string();
    return {
        {::access(parent.c_str(), W_OK) == 0 || errno == ENOENT ? Verdict::ok : Verdict::warning,
         "disk", data + " is not there yet; `ember up` makes it", ""}};
  }
  std::vector<Finding> findings;
  std::set<dev_t> seen;
  for (const char* part :
       {"", "/serve", "/serve/logs", "/node", "/node/layers", "/node/layers/uv"}) {
    const std::string directory = data + part;
    if (::stat(directory.c_str(), &status) != 0 || !seen.insert(status.st_dev).second) continue;
    findings.push_back(examine_disk(directory));
  }
  return findings;
}

std::vector<Finding> examine_clock(const std::string& data) {
  constexpr const char* kCheck = "clock";
  std::vector<Finding> findings;
  const Time now = wall_clock();
  if (now < kEmberIsYoungerThan) {
    findings.push_back({Verdict::trouble, kCheck, "the clock is years behind", "set it"});
  }
  const auto seen = last_seen(data);
  if (seen && *seen > now + kFuture) {
    findings.push_back({Verdict::trouble, kCheck,
                        fmt::format("a node was here {} s in the future: the clock was set back",
                                    (*seen - now).us / 1'000'000),
                        "set the clock; bills go by it"});
  }
  const Duration off = drift();
  if (off > kMostDrift || off < Duration{0} - kMostDrift) {
    findings.push_back({Verdict::warning, kCheck,
                        fmt::format("it moved {} ms against the monotonic clock in {} ms",
                                    off.whole_ms(), kDriftWatch.whole_ms()),
                        "see that only one program sets the clock, and that it slews"});
  }
  timex state{};
  if (const int kind = ::adjtimex(&state); kind == TIME_ERROR || (state.status & STA_UNSYNC) != 0) {
    findings.push_back({Verdict::warning, kCheck,
                        "the kernel does not know it to be synchronised (NTP)",
                        "run chrony or systemd-timesyncd, here or on the host"});
  }
  if (findings.empty()) findings.push_back({Verdict::ok, kCheck, "steady and synchronised", ""});
  return findings;
}

std::vector<Finding> examine_programs(const NodeOptions& options) {
  const Verdict for_containers = ::geteuid() == 0 ? Verdict::trouble : Verdict::warning;
  const std::array needed{
      Needed{"crun", for_containers, "no containers", "apt-get install crun"},
      Needed{"/usr/bin/tini-static", Verdict::warning,
             "what a function's processes leave behind stays until its container ends",
             "apt-get install tini"},
      Needed{"slirp4netns", Verdict::warning,
             "containers are on the machine's own network, and egress is not metered",
             "apt-get install slirp4netns"},
      Needed{options.runsc, Verdict::warning, "functions cannot have isolation=\"gvisor\"",
             "apt-get install runsc"},
      Needed{options.uv, Verdict::warning, "images with packages cannot be built",
             "make setup, or pip install uv"},
      Needed{kPython, Verdict::trouble, "no function can run", "apt-get install python3"}};
  std::vector<Finding> findings;
  for (const Needed& one : needed) findings.push_back(examine_program(one));
  return findings;
}

std::vector<Finding> examine_gpus(const NodeOptions& options) {
  constexpr const char* kCheck = "GPU";
  const GpuReport report = make_gpu_report(options.nvml_library);
  std::vector<Finding> findings;
  for (const std::string& trouble : report.troubles) {
    findings.push_back({Verdict::trouble, kCheck, trouble,
                        "`nvidia-smi` and the kernel's log say more; reinstall the driver if its "
                        "parts are of two versions"});
  }
  for (const GpuReport::Entry& entry : report.entries) findings.push_back(examine_gpu(entry));
  if (!findings.empty()) return findings;
  if (!report.driver_version.empty()) {
    return {{Verdict::ok, kCheck, "driver " + report.driver_version + ", no devices", ""}};
  }
  if (const int devices = nvidia_devices_on_the_bus()) {
    return {{Verdict::warning, kCheck,
             fmt::format("{} of NVIDIA's in this machine, and no driver", devices),
             "install NVIDIA's driver, with libnvidia-ml.so.1"}};
  }
  return {{Verdict::ok, kCheck, "no NVIDIA driver: CPU functions and simulated GPUs alone", ""}};
}

}  // namespace ember
