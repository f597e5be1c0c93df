#include "node/runsc_isolation.h"

#include <signal.h>

#include "node/runsc.h"

namespace ember {
namespace {

// The sandbox ends with the status of the container's first process, or with this and the signal
// that ended that.
constexpr int kEndedBySignal = 128;

class RunscIsolation final : public OciIsolation {
 public:
  using OciIsolation::OciIsolation;

  std::string_view name() const override { return "gvisor"; }

  // Whatever connects for a process in the sandbox, be it the sandbox or the gofer, is in the
  // container's control group, which nothing of it can leave.
  bool owns(const ContainerMeta& record, pid_t, const ucred& peer) const override {
    return has_process(record, peer.pid);
  }

  bool has_process(const ContainerMeta& record, pid_t process) const override {
    return setup().cgroups.has_process(record.container, process);
  }

  void remount(const ContainerMeta&, pid_t, VolumeDirectories, uid_t,
               std::function<void(Result<>)> done) override {
    done(Error{ErrorCode::conflict,
               "a volume is not mounted anew in a container under gVisor: the next container has "
               "its newest version"});
  }

  std::string why_opaque() const override {
    return "its processes are gVisor's, which the node does not see: look within, by ember "
           "container exec";
  }

  Result<ExecLaunch> exec(const ExecPlan& plan) override {
    OciExecRun wanted;
    auto launch =
        oci_exec(plan, root_user(plan.record), TerminalMaker::node, [&](const OciExecRun& run) {
          wanted = run;
          return runsc_exec_command(runsc(), run);
        });
    if (!launch.ok()) return launch;
    launch->word_of_errors = last_word_of_runsc;
    launch->signal = [this, wanted](int number) {
      return runsc_exec_signal_command(runsc(), wanted, number);
    };
    return launch;
  }

  // The kernel may have ended one of the processes that the sandbox lends to those within: it then
  // ends by itself.
  ProcessEnd end_of_runner(const ContainerMeta& record, ProcessEnd end) const override {
    const bool is_kill = end.exit_status > 0 && setup().cgroups.ran_out_of_memory(record.container);
    if (is_kill) return {.exit_status = -1, .signal = SIGKILL};
    const int signal = end.exit_status - kEndedBySignal;
    if (signal <= 0 || signal >= NSIG) return end;
    return {.exit_status = -1, .signal = signal};
  }

 private:
  std::string_view program() const override { return "runsc"; }

  Result<> check(const LaunchPlan& plan) const override {
    if (!plan.record.devices.empty()) {
      return {ErrorCode::unavailable, "GPUs are not to be had under gVisor"};
    }
    if (plan.sandbox.network.access == NetworkAccess::listed) {
      return {ErrorCode::unavailable, "its network list cannot be kept under gVisor"};
    }
    return Ok{};
  }

  bool covers_an_empty_tmp() const override { return true; }
  ProcessesCounted processes_counted() const override { return ProcessesCounted::by_the_runtime; }

  Command run_command(const OciRun& run, const Stage& stage) const override {
    return runsc_command(runsc(), run, stage);
  }

  Runsc runsc() const {
    return {
        .program = setup().runsc, .state_directory = state_directory(), .cgroups = setup().cgroups};
  }
};

}  // namespace

std::unique_ptr<Isolation> make_runsc_isolation(ProcessTable& processes, OciSetup setup) {
  std::string state = setup.directory.path + "/runsc";
  return std::make_unique<RunscIsolation>(processes, std::move(setup), std::move(state));
}

}  // namespace ember
