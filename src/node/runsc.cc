#include "node/runsc.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "node/container_files.h"

namespace ember {
namespace {

using Json = nlohmann::json;

constexpr const char* kPath = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

std::vector<std::string> words(const Runsc& runsc, ContainerId container) {
  return {runsc.program, "--root", runsc.state_directory + "/" + container.text()};
}

// On the stage. A runsc of 2022 takes one of them for a sign of the machine's own network, in which
// it starts nothing; since Linux 6.7 every network has it. The sandbox mounts a /proc of its own,
// which the kernel allows where it sees a whole one: that is beside the other then.
bool hide_network_settings() {
  const std::string whole = Stage::path("proc");
  return ::mkdir(whole.c_str(), 0755) == 0 &&
         ::mount("proc", whole.c_str(), "proc", 0, nullptr) == 0 &&
         ::mount("ember", "/proc/sys/net", "tmpfs", 0, nullptr) == 0;
}

void append(std::vector<std::string>& argv, std::vector<std::string> more) {
  argv.insert(argv.end(), more.begin(), more.end());
}

}  // namespace

Command runsc_command(const Runsc& runsc, const OciRun& run, const Stage& stage) {
  Command command;
  command.argv = words(runsc, run.container);
  const bool has_network = run.network == BundleNetwork::Kind::made_before;
  // Sockets are opened, for the runner's, and never made; what is written goes where the stage
  // says, through no layer of gVisor's own.
  append(command.argv, {"--host-uds=open", "--overlay2=none",
                        has_network ? "--network=sandbox" : "--network=none"});
  append(command.argv, {"run", "--detach", "--pid-file", run.pid_path, "--bundle", run.bundle,
                        run.container.text()});
  command.env = {run.mark, kPath};
  command.output = run.output;
  command.steps = stage.steps();
  if (runsc.cgroups.hybrid()) command.steps.push_back(hide_v2_beside_v1());
  command.steps.push_back({"hide the settings of networks", hide_network_settings});
  return command;
}

Command runsc_exec_command(const Runsc& runsc, const OciExecRun& run) {
  Command command;
  command.argv = words(runsc, run.container);
  append(command.argv,
         {"--log", run.log_path, "--log-format", "json", "exec", "--pid-file", run.pid_path,
          "--internal-pid-file", run.inner_pid_path, "--process", run.process_path});
  command.argv.push_back(run.container.text());
  command.env = {kPath};
  command.steps.push_back(
      {"join the container's control group",
       [cgroups = &runsc.cgroups, container = run.container] { return cgroups->join(container); }});
  return command;
}

std::optional<Command> runsc_exec_signal_command(const Runsc& runsc, const OciExecRun& run,
                                                 int number) {
  const std::string told = read_file(run.inner_pid_path).value_or("");
  const long pid = std::strtol(told.c_str(), nullptr, 10);
  if (pid <= 0) return std::nullopt;  // by 0 runsc knows the container's own first process
  Command command;
  command.argv = words(runsc, run.container);
  append(command.argv,
         {"kill", "--pid", std::to_string(pid), run.container.text(), std::to_string(number)});
  command.env = {kPath};
  return command;
}

std::string last_word_of_runsc(const std::string& log) {
  std::istringstream lines(log);
  std::string word;
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("msg") || !json["msg"].is_string()) continue;
    word = json["msg"].get<std::string>();
  }
  return word;
}

}  // namespace ember
