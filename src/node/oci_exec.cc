#include "node/oci_exec.h"

#include <nlohmann/json.hpp>

#include "node/unix_socket.h"

namespace ember {
namespace {

using Json = nlohmann::json;

// What the container's first process was given, but for its arguments and terminal.
Result<std::string> process_json(const ExecPlan& plan) {
  const auto text = read_file(plan.files.directory() + "/config.json");
  Json config = Json::parse(text.value_or(""), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object() || !config.contains("process")) {
    return {ErrorCode::internal, "the container's config.json cannot be read"};
  }
  Json process = std::move(config["process"]);
  process["args"] = plan.spec.arguments;
  process["terminal"] = plan.spec.terminal.has_value();
  if (plan.spec.terminal) {  // of the first moment; the terminal itself comes here a little later
    process["consoleSize"] = {{"height", plan.spec.terminal->rows},
                              {"width", plan.spec.terminal->columns}};
  }
  if (plan.spec.terminal) process["env"].push_back("TERM=" + plan.spec.terminal_type);
  return process.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Result<ExecLaunch> oci_exec(const ExecPlan& plan, uid_t root_user, TerminalMaker maker,
                            const std::function<Command(const OciExecRun&)>& command_of) {
  auto process = process_json(plan);
  if (!process.ok()) return std::move(process).error();
  const std::string& at = plan.scratch;
  if (auto written = write_file(at + ".json", *process, 0600); !written.ok()) {
    return std::move(written).error();
  }
  ExecLaunch launch;
  launch.pid_path = at + ".pid";
  launch.inner_pid_path = at + ".inner-pid";
  launch.errors_path = at + ".log";
  launch.process_path = at + ".json";
  const bool by_runtime = plan.spec.terminal && maker == TerminalMaker::runtime;
  if (by_runtime) launch.console_path = at + ".tty";
  launch.command = command_of({.container = plan.record.container,
                               .process_path = launch.process_path,
                               .pid_path = launch.pid_path,
                               .inner_pid_path = launch.inner_pid_path,
                               .log_path = launch.errors_path,
                               .console_path = launch.console_path});
  if (!by_runtime) {
    auto given = plan.spec.terminal ? give_terminal(launch, *plan.spec.terminal)
                                    : give_pipes(launch, root_user);
    return given.ok() ? Result<ExecLaunch>(std::move(launch)) : std::move(given).error();
  }
  auto console = listen_unix(launch.console_path, 0600);
  if (!console.ok()) return std::move(console).error();
  launch.console = std::move(*console);
  return launch;
}

}  // namespace ember
