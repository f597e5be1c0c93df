#include "node/doctor.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <iterator>

#include "base/disk_error.h"
#include "node/trial.h"

namespace ember {
namespace {

namespace fs = std::filesystem;

// A directory for the trial: on the data directory's disk, which is what containers will meet,
// where that can be written.
Result<std::string> make_trial_directory(const std::string& data) {
  for (const std::string& parent : {data, fs::temp_directory_path().string()}) {
    std::string path = parent + "/doctor-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) continue;
    // Passed through by the users of containers.
    if (::chmod(path.c_str(), 0711) == 0) return path;
  }
  return disk_error(fs::temp_directory_path().string(), errno);
}

std::string timings(const TrialReport& test) {
  return fmt::format("boot {} ms, load {} ms, call {} ms, stop {} ms", test.boot.whole_ms(),
                     test.load.whole_ms(), test.call.whole_ms(), test.stop.whole_ms());
}

std::vector<Finding> findings_of(const TrialReport& test) {
  std::vector<Finding> findings;
  for (const std::string& hole : test.holes) {
    findings.push_back({Verdict::trouble, "self-test", "the sandbox leaks: " + hole,
                        "do not run code of strangers here, and report this"});
  }
  if (test.isolation == "process") {
    findings.push_back({Verdict::warning, "self-test",
                        "a function ran as a plain process of this user: " + timings(test),
                        "run `ember up` as root to have containers"});
  } else if (test.holes.empty()) {
    findings.push_back({Verdict::ok, "self-test",
                        "a function ran in a container and was ended: " + timings(test), ""});
  }
  for (const std::string& line : test.missing) {
    findings.push_back({Verdict::warning, "isolation", line, "see docs/reference/cli.md"});
  }
  findings.push_back({Verdict::ok, "network", test.network, ""});
  return findings;
}

std::vector<Finding> examine_by_running(NodeOptions options) {
  const auto directory = make_trial_directory(options.data);
  if (!directory.ok()) {
    return {{Verdict::trouble, "self-test", directory.error().message,
             "make the data directory writable, or name another with --data"}};
  }
  options.data = *directory;
  options.simulate_gpus.clear();
  auto test = run_trial(options);
  std::error_code ignored;
  fs::remove_all(*directory, ignored);
  if (test.ok()) return findings_of(*test);
  return {{Verdict::trouble, "self-test", "no function can run: " + test.error().message,
           "mend what the lines above tell of; with --isolation process functions run without "
           "isolation"}};
}

}  // namespace

std::vector<Finding> examine_machine(const NodeOptions& options) {
  std::vector<Finding> findings{examine_privileges(), examine_namespaces()};
  const auto add = [&](std::vector<Finding> more) {
    std::move(more.begin(), more.end(), std::back_inserter(findings));
  };
  add(examine_cgroups());
  add(examine_disks(options.data));
  add(examine_clock(options.data));
  add({examine_descriptors()});
  add(examine_programs(options));
  add(examine_gpus(options));
  add(examine_by_running(options));
  return findings;
}

}  // namespace ember
