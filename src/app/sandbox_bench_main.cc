// `ember-sandbox-bench`: how long a static program takes in a container of ours over a prepared
// image, from the order to its end, beside `crun run` of the same image in a mount namespace that
// is ready for it. One line of JSON a round, sides alternating.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include "node/machine.h"

namespace ember {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kLimit{20};

volatile std::sig_atomic_t told_to_end = 0;

double since(Clock::time_point began) {
  return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

// A process whose mount namespace is set for the command; each byte it reads is one run.
class PreparedCrun {
 public:
  explicit PreparedCrun(const Command& command) {
    int orders[2], answers[2];
    if (::pipe(orders) != 0 || ::pipe(answers) != 0) return;
    orders_ = UniqueFd(orders[1]);
    answers_ = UniqueFd(answers[0]);
    pid_ = ::fork();
    if (pid_ == 0) {
      // Its own ends of these would hide from it that this process has gone.
      orders_.reset();
      answers_.reset();
      serve(command, orders[0], answers[1]);
    }
    ::close(orders[0]);
    ::close(answers[1]);
  }
  ~PreparedCrun() {
    orders_.reset();
    ::waitpid(pid_, nullptr, 0);
  }

  // Milliseconds; below 0: it failed.
  double run() {
    double took = -1;
    const char order = 'r';
    if (::write(orders_.get(), &order, 1) != 1 ||
        ::read(answers_.get(), &took, sizeof(took)) != sizeof(took)) {
      return -1;
    }
    return took;
  }

 private:
  [[noreturn]] static void serve(const Command& command, int orders, int answers) {
    for (const PreparationStep& step : command.steps) {
      if (!step.run()) ::_exit(1);
    }
    Command bare = command;
    bare.steps.clear();
    bare.program.reset();
    for (char order = 0; ::read(orders, &order, 1) == 1;) {
      const auto began = Clock::now();
      const auto pid = spawn(bare);
      int status = -1;
      if (pid.ok()) ::waitpid(*pid, &status, 0);
      const double took = status == 0 ? since(began) : -1;
      if (::write(answers, &took, sizeof(took)) != sizeof(took)) break;
    }
    ::_exit(0);
  }

  UniqueFd orders_, answers_;
  pid_t pid_ = -1;
};

class Bench {
 public:
  Bench(const NodeOptions& options, NodeDirectory directory, BuiltImage image, std::string program)
      : directory_(std::move(directory)),
        image_(std::move(image)),
        program_(std::move(program)),
        machine_(probe_machine(loop_, processes_, options, directory_)),
        isolation_(machine_.isolation_of("container")) {}

  int run(int rounds) {
    if (!machine_.builds) return complain("containers are not to be had: " + machine_.refusal);
    const std::string part = directory_.path + "/bench";
    std::filesystem::create_directories(part);
    const auto sandbox = machine_.builds->make(part);
    const UniqueFd output(::memfd_create("output", MFD_CLOEXEC));
    auto command = sandbox->command({.argv = {program_},
                                     .env = {},
                                     .privileges = Privileges::none,
                                     .image = image_,
                                     .upper = "",
                                     .network = "",
                                     .output = output.get()});
    if (!command.ok()) return complain(command.error().message);
    PreparedCrun crun(*command);
    for (int round = 0; round < rounds && told_to_end == 0; ++round) {
      const double floor = crun.run();
      const double ours = one_container();
      if (floor < 0 || ours < 0) return complain("a round failed: " + why_);
      std::printf("{\"crun_ms\": %.3f, \"ours_ms\": %.3f}\n", floor, ours);
      std::fflush(stdout);
    }
    return 0;
  }

 private:
  static int complain(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    return 1;
  }

  double one_container() {
    const ContainerMeta record{.container = ContainerId{++last_},
                               .labels_json = "",
                               .devices = {},
                               .started = {},
                               .resources = {},
                               .isolation = "container"};
    const ContainerFiles files(directory_.path, record.container);
    double took = -1;
    loop_.restart();
    const auto began = Clock::now();
    if (!files.create(record, "{}").ok()) return -1;
    const auto ended = [&](ProcessEnd end) {
      if (end.exit_status == 0) took = since(began);
      loop_.stop();
    };
    isolation_.launch({.record = record,
                       .files = files,
                       .env = {},
                       .image = image_,
                       .argv = {program_},
                       .sandbox = {.network = {NetworkAccess::none}}},
                      {}, [&](Result<pid_t> pid) {
                        if (pid.ok() && processes_.watch(*pid, ended).ok()) return;
                        if (!pid.ok()) why_ = pid.error().message;
                        loop_.stop();
                      });
    loop_.run_for(kLimit);
    isolation_.clean_up(record, 0);
    files.remove();
    return took;
  }

  boost::asio::io_context loop_{1};
  ProcessTable processes_{loop_};
  const NodeDirectory directory_;
  const BuiltImage image_;
  const std::string program_;
  Machine machine_;
  Isolation& isolation_;
  std::uint64_t last_ = 1;
  std::string why_;
};

int run_bench(int argc, char** argv) {
  CLI::App app("A static program in our container, and under crun alone");
  NodeOptions options;
  options.isolation = IsolationChoice::process;  // of the node: it makes no networks ahead then
  BuiltImage image;
  image.on_host = false;
  std::string program;
  int rounds = 20;
  app.add_option("--data", options.data, "a directory of its own")->required();
  app.add_option("--layer", image.root, "a layer of the image, the lowest first")->required();
  app.add_option("--program", program, "in the image")->required();
  app.add_option("--rounds", rounds, "of both sides");
  CLI11_PARSE(app, argc, argv);
  spdlog::set_level(spdlog::level::err);  // it logs to where the figures go
  auto directory = open_node_directory(options);
  if (!directory.ok()) {
    std::fprintf(stderr, "%s\n", directory.error().message.c_str());
    return 1;
  }
  return Bench(options, std::move(*directory), std::move(image), program).run(rounds);
}

}  // namespace
}  // namespace ember

int main(int argc, char** argv) {
  for (const int number : {SIGINT, SIGTERM}) {
    std::signal(number, [](int) { ember::told_to_end = 1; });
  }
  return ember::run_bench(argc, argv);
}
