#include "node/crun.h"

#include "base/assert.h"
#include "node/container_files.h"
#include "node/mount_table.h"

namespace ember {
namespace {

std::vector<std::string> crun_words(const Program& crun, const std::string& state_directory,
                                    const Cgroups& cgroups) {
  return {crun.path, "--root", state_directory, "--cgroup-manager",
          cgroups.usable() ? "cgroupfs" : "disabled"};
}

constexpr const char* kPath = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

}  // namespace

Command crun_command(const CrunRun& run, const Stage& stage) {
  // crun gives its streams to the container's user: none may be the machine's /dev/null.
  EMBER_ASSERT(run.output >= 0);
  Command command;
  command.argv = crun_words(run.crun, run.state_directory, run.cgroups);
  command.argv.insert(command.argv.end(), {"run", "--bundle", run.bundle});
  command.argv.insert(command.argv.end(), run.options.begin(), run.options.end());
  command.argv.push_back(run.container.text());
  command.env = {run.mark, kPath};
  command.output = run.output;
  command.program = run.crun.sealed;
  command.steps = stage.steps();
  if (run.cgroups.hybrid()) command.steps.push_back(hide_v2_beside_v1());
  return command;
}

Command crun_exec_command(const CrunExecRun& exec) {
  const OciExecRun& run = exec.run;
  Command command;
  command.argv = crun_words(exec.crun, exec.state_directory, exec.cgroups);
  command.argv.insert(command.argv.end(), {"--log", run.log_path, "exec", "--pid-file",
                                           run.pid_path, "--process", run.process_path});
  if (!run.console_path.empty()) {
    command.argv.insert(command.argv.end(), {"--tty", "--console-socket", run.console_path});
  }
  command.argv.push_back(run.container.text());
  command.env = {kPath};
  command.program = exec.crun.sealed;
  if (exec.cgroups.hybrid()) {
    const auto stage = std::make_shared<const Stage>();  // an empty one: for its mount namespace
    command.steps = kept_by(stage, stage->steps());
    command.steps.push_back(hide_v2_beside_v1());
  }
  return command;
}

void stage_root(Stage& stage, StagedRoot root) {
  StagedOverlay overlay{
      .name = root.name, .lowers = {}, .upper = root.name + "-upper", .first_id = root.first_id};
  for (std::size_t i = 0; i < root.lowers.size(); ++i) {
    overlay.lowers.push_back(root.name + "-" + std::to_string(i));
    stage.add_idmapped(overlay.lowers.back(), root.lowers[i], root.user_namespace,
                       MountAccess::read_only);
  }
  if (root.disk) {
    stage.add_disk(overlay.upper, std::move(root.disk), root.user_namespace);
  } else if (root.upper.empty()) {
    stage.add_upper_in_memory(overlay.upper, root.memory_bytes, root.first_id);
  } else {
    stage.add_idmapped(overlay.upper, root.upper, root.user_namespace, MountAccess::read_write);
  }
  stage.add_overlay(std::move(overlay));
}

std::vector<std::string> mounts_in_usr() {
  return mount_points_below("/usr", read_file("/proc/self/mountinfo").value_or(""));
}

}  // namespace ember
