// emberd: one binary, two roles, and looks at the machine. Parses flags, builds the parts, wires
// them; nothing else.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>

#include "app/doctor_role.h"
#include "app/node_role.h"
#include "app/serve_role.h"
#include "node/gpu_report.h"

namespace {

// How containers are started here. Returns the one that a node cannot do without.
CLI::Option* add_container_options(CLI::App& command, ember::NodeFlags& flags) {
  command.add_option("--runsc", flags.options.runsc, "gVisor's runsc program, by name or path");
  command.add_option("--py-spy", flags.options.py_spy, "The py-spy program, by name or path");
  command.add_option("--uv", flags.options.uv, "The uv program, by name or path");
  command.add_option("--isolation", flags.isolation, "How containers are kept apart")
      ->check(CLI::IsMember({"auto", "container", "process"}));
  command.add_option("--network", flags.network, "How containers get a network of their own")
      ->check(CLI::IsMember({"auto", "veth", "slirp4netns"}));
  command.add_option(
      "--container-range", flags.container_range,
      "The private network of their addresses, as 10.213.0.0/18 (default: a free one)");
  command.add_option("--allow-network", flags.allowed_networks,
                     "A private network, or an address of this machine, that containers may reach");
  return command.add_option("--python", flags.python,
                            "NAME=DIRECTORY: a package that every container gets");
}

void add_node(CLI::App& program, ember::NodeFlags& flags) {
  CLI::App* node =
      program.add_subcommand("node", "One machine's hands: containers, images, devices");
  node->add_option("--data", flags.data, "Data directory, shared with serve")->required();
  node->add_option("--name", flags.options.name, "Shown to people (default: the host's name)");
  node->add_option("--simulate-gpus", flags.options.simulate_gpus,
                   "Simulated devices for development, for example L4:2,H100:1");
  node->add_flag("--allow-process", flags.options.allow_process,
                 "Fall back to no isolation where the machine allows no containers");
  add_container_options(*node, flags)->required();
}

void add_serve(CLI::App& program, ember::ServeFlags& flags) {
  CLI::App* serve = program.add_subcommand("serve", "The control plane: HTTP, engine, state");
  serve->add_option("--data", flags.data, "Data directory, shared with node")->required();
  serve->add_option("--listen", flags.listen, "HOST:PORT; port 0: any free one");
  serve->add_option("--web-listen", flags.web_listen,
                    "HOST:PORT of web endpoints (default: the port after that of --listen)");
  serve->add_option("--web-domain", flags.web_domain,
                    "Where endpoints are beside localhost: [SCHEME://]NAME[:PORT], whose DNS has a "
                    "wildcard");
  serve
      ->add_option("--web-open-rate", flags.web_open_rate,
                   "Requests a second that one address may make to an endpoint without a key; 0: "
                   "any number")
      ->check(CLI::Range(0, 100'000));
  serve->add_option("--host-name", flags.host_names, "A name clients may use beside localhost");
  serve->add_option("--prices", flags.prices, "The price book, a JSON file")->required();
  serve->add_option("--drain-seconds", flags.drain_seconds, "Longest wait for calls at SIGTERM");
  const auto mebibytes = [serve](const char* name, std::int64_t& value, const char* what) {
    serve->add_option(name, value, what)->check(CLI::Range(1, 1 << 20));
  };
  mebibytes("--log-container-mib", flags.log_container_mib, "Log files of one container, in MiB");
  mebibytes("--log-app-mib", flags.log_app_mib, "Log files of one app");
  mebibytes("--log-total-mib", flags.log_total_mib, "Log files of all");
  serve
      ->add_option("--workspace-queue-limit", flags.workspace_queue_limit,
                   "Inputs that may wait in all functions of a workspace; one more is refused")
      ->check(CLI::Range(1, 10'000'000));
  serve
      ->add_option("--results-days", flags.results_days,
                   "How long the outcome of an asynchronous call is kept")
      ->check(CLI::Range(1, 3650));
  serve->add_option("--webhooks-allow", flags.webhooks_allowed,
                    "A network that webhooks may be sent to beside the public internet");
  CLI::Option* env = serve->add_option("--master-key-env", flags.master_key.env,
                                       "The variable that holds the key of all secrets");
  serve
      ->add_option("--master-key-command", flags.master_key.command,
                   "A shell's command that prints it (default: the file master.key)")
      ->excludes(env);
}

void add_devices(CLI::App& program, bool& json) {
  CLI::App* devices =
      program.add_subcommand("devices", "Show this machine's GPUs, as their driver tells of them");
  devices->add_flag("--json", json, "One JSON document");
}

void add_doctor(CLI::App& program, ember::DoctorFlags& flags) {
  CLI::App* doctor = program.add_subcommand(
      "doctor", "Look at this machine, or at a server's state, and say what to do about troubles");
  doctor->add_option("--data", flags.node.data, "Data directory")->required();
  doctor->add_flag("--state", flags.state, "Check the store and the ledger, reading alone");
  doctor->add_option("--database", flags.database, "With --state: this file, such as a copy");
  add_container_options(*doctor, flags.node);
  doctor->add_flag("--json", flags.json, "One JSON document");
}

void show_devices(bool json) {
  const ember::GpuReport report = ember::make_gpu_report();
  fmt::print("{}\n", json ? ember::to_json(report) : ember::to_text(report));
}

}  // namespace

int main(int count, char** arguments) {
  CLI::App program("Ember: serverless functions on the GPUs you hold", "emberd");
  program.require_subcommand(1);
  program.set_version_flag("--version", EMBER_VERSION);
  ember::NodeFlags node;
  ember::ServeFlags serve;
  add_node(program, node);
  add_serve(program, serve);
  bool json = false;
  add_devices(program, json);
  ember::DoctorFlags doctor;
  add_doctor(program, doctor);
  CLI11_PARSE(program, count, arguments);

  if (program.got_subcommand("devices")) {
    show_devices(json);
    return 0;
  }
  if (program.got_subcommand("doctor")) {
    const auto status = ember::run_doctor_role(std::move(doctor));
    if (status) return *status;
    fmt::print(stderr, "emberd: {}\n", status.error().message);
    return 2;
  }
  const auto ended = program.got_subcommand("node") ? ember::run_node_role(std::move(node))
                                                    : ember::run_serve_role(std::move(serve));
  if (ended) return 0;
  fmt::print(stderr, "emberd: {}\n", ended.error().message);
  return 1;
}
