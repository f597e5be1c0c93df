#include "node/crun_isolation.h"

#include <signal.h>

#include "node/crun.h"
#include "node/volume_remount.h"

namespace ember {
namespace {

// The init ends with the runner's exit status, or with this and the signal that ended the runner.
constexpr int kEndedBySignal = 128;

class CrunIsolation final : public OciIsolation {
 public:
  using OciIsolation::OciIsolation;

  std::string_view name() const override { return "container"; }

  void remount(const ContainerMeta& record, pid_t runner, VolumeDirectories volume, uid_t owner,
               std::function<void(Result<>)> done) override {
    // Lives until the child that stands on it has ended.
    auto stage = std::make_shared<Stage>();
    const std::string path = volume.path;
    auto staged = stage_volume(*stage, "v", record, std::move(volume), owner);
    if (!staged.ok()) return done(std::move(staged).error());
    Command command;
    command.argv = {"/nothing/is/executed"};
    command.steps = stage->steps();
    for (PreparationStep& step : remount_steps(runner, "v", path)) {
      command.steps.push_back(std::move(step));
    }
    auto pid = processes().run(command, [stage, done](ProcessEnd end) {
      if (end.exit_status == kRemounted) return done(Ok{});
      if (end.exit_status == kVolumeBusy) {
        return done(Error{ErrorCode::conflict,
                          "files of the volume are open; close them (and leave its directories), "
                          "then reload"});
      }
      done(Error{ErrorCode::unavailable, "the volume could not be mounted anew"});
    });
    if (!pid.ok()) done(std::move(pid).error());
  }

  bool owns(const ContainerMeta& record, pid_t runner, const ucred& peer) const override {
    return peer.pid == runner_process(runner) && is_user_of(record, peer.uid);
  }

  bool has_process(const ContainerMeta& record, pid_t process) const override {
    const auto user = process_user(process);
    return user && is_user_of(record, *user);
  }

  Result<ExecLaunch> exec(const ExecPlan& plan) override {
    return oci_exec(plan, root_user(plan.record), TerminalMaker::runtime,
                    [this](const OciExecRun& run) {
                      return crun_exec_command({.crun = setup().crun,
                                                .state_directory = state_directory(),
                                                .cgroups = setup().cgroups,
                                                .run = run});
                    });
  }

  pid_t runner_process(pid_t runner) const override {
    return setup().init.empty() ? runner : first_child_of(runner);
  }

  ProcessEnd end_of_runner(const ContainerMeta&, ProcessEnd end) const override {
    const int signal = end.exit_status - kEndedBySignal;
    if (setup().init.empty() || signal <= 0 || signal >= NSIG) return end;
    return {.exit_status = -1, .signal = signal};
  }

 private:
  static bool is_user_of(const ContainerMeta& record, uid_t user) {
    const uid_t first = first_id_of(record.slot);
    return user >= first && user - first < kUidsPerContainer;
  }

  std::string_view program() const override { return "crun"; }

  Command run_command(const OciRun& run, const Stage& stage) const override {
    return crun_command({.crun = setup().crun,
                         .state_directory = state_directory(),
                         .cgroups = setup().cgroups,
                         .bundle = run.bundle,
                         .container = run.container,
                         .mark = run.mark,
                         .options = {"--detach", "--pid-file", run.pid_path},
                         .output = run.output},
                        stage);
  }
};

}  // namespace

std::unique_ptr<Isolation> make_crun_isolation(ProcessTable& processes, OciSetup setup) {
  std::string state = setup.directory.path + "/crun";
  return std::make_unique<CrunIsolation>(processes, std::move(setup), std::move(state));
}

}  // namespace ember
