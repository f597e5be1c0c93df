// ember-sim: runs seeds of the simulator and prints what came of them. Exits 1 on a violation.
#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <vector>

#include "sim/simulation.h"

namespace {

using namespace ember;

constexpr std::size_t kTraceLines = 30;

std::uint64_t running_seed = 0;

// An assertion of the engine's own is a finding too: say which seed leads to it.
void on_abort(int) {
  std::printf("seed %llu: assertion failed\n", static_cast<unsigned long long>(running_seed));
  std::fflush(stdout);
  std::_Exit(1);
}

void print_line(Time at, const std::string& text) {
  std::printf("  %lld.%06lld %s\n", static_cast<long long>(at.us / 1'000'000),
              static_cast<long long>(at.us % 1'000'000), text.c_str());
}

// The same run again, for its last lines.
void print_trace(const SimOptions& options) {
  std::deque<std::pair<Time, std::string>> lines;
  simulate(options, [&](Time at, const std::string& text) {
    lines.emplace_back(at, text);
    if (lines.size() > kTraceLines) lines.pop_front();
  });
  for (const auto& [at, text] : lines) print_line(at, text);
}

void print_violation(const SimOptions& options, const Violation& violation) {
  std::printf("seed %llu: violation at %lld.%06lld s\n  invariant: %s\n  detail: %s\n",
              static_cast<unsigned long long>(options.seed),
              static_cast<long long>(violation.at.us / 1'000'000),
              static_cast<long long>(violation.at.us % 1'000'000), violation.invariant.c_str(),
              violation.detail.c_str());
}

void print_summary(const SimReport& report) {
  const auto number = [](const char* name, std::uint64_t value) {
    std::printf("%-12s %llu\n", name, static_cast<unsigned long long>(value));
  };
  number("seed:", report.seed);
  number("events:", report.counts.events);
  number("actions:", report.counts.actions);
  number("inputs:", report.inputs);
  number("for later:", report.counts.jobs);
  number("answered:", report.counts.answered);
  number("failed:", report.counts.failed);
  number("containers:", report.counts.containers);
  number("adopted:", report.counts.adopted);
  number("restarts:", report.counts.restarts);
  number("deadlocks:", report.counts.deadlocks);
  std::printf("%-12s %s\n", "billed USD:", Money{report.billed_nano_usd}.decimal().c_str());
  std::printf("%-12s %.1f s\n", "simulated:", static_cast<double>(report.simulated.us) / 1e6);
  std::printf("faults:     ");
  for (const auto& [name, count] : report.faults) {
    std::printf(" %.*s %llu", static_cast<int>(name.size()), name.data(),
                static_cast<unsigned long long>(count));
  }
  std::printf("\nstate hash: %016llx\n", static_cast<unsigned long long>(report.state_hash));
}

int run_one(const SimOptions& options, bool trace) {
  running_seed = options.seed;
  const SimReport report = simulate(options, trace ? Driver::Trace(print_line) : Driver::Trace());
  if (report.violation) {
    print_violation(options, *report.violation);
    if (!trace) print_trace(options);
    return 1;
  }
  print_summary(report);
  return 0;
}

enum class AfterViolation : std::uint8_t { go_on, end };

int run_many(SimOptions options, std::uint64_t seeds, AfterViolation after) {
  std::uint64_t failed = 0;
  std::uint64_t events = 0;
  const auto begun = std::chrono::steady_clock::now();
  for (const std::uint64_t end = options.seed + seeds; options.seed < end; ++options.seed) {
    running_seed = options.seed;
    const SimReport report = simulate(options);
    events += report.counts.events;
    if (report.violation) {
      ++failed;
      print_violation(options, *report.violation);
      if (after == AfterViolation::end) return 1;
    } else {
      std::printf("seed %llu: %llu events, %llu inputs, state hash %016llx\n",
                  static_cast<unsigned long long>(options.seed),
                  static_cast<unsigned long long>(report.counts.events),
                  static_cast<unsigned long long>(report.inputs),
                  static_cast<unsigned long long>(report.state_hash));
    }
    std::fflush(stdout);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  std::printf("%llu events in %.1f s, %.0f a second\n", static_cast<unsigned long long>(events),
              took.count(), static_cast<double>(events) / took.count());
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(seeds - failed),
              static_cast<unsigned long long>(failed));
  return failed > 0 ? 1 : 0;
}

// "lost=50" sets a rate; "lost=0" switches the class off.
bool set_rate(FaultRates& rates, const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) return false;
  std::uint32_t rate = 0;
  if (!CLI::detail::lexical_cast(text.substr(equals + 1), rate) || rate > 1000) return false;
  for (const FaultClass& one : fault_classes()) {
    if (one.name != text.substr(0, equals)) continue;
    rates.*one.rate = rate;
    return true;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  SimOptions options;
  std::uint64_t seeds = 1;
  std::int64_t safety_s = options.safety.us / 1'000'000;
  bool trace = false;
  bool until_violation = false;
  bool no_check = false;
  std::vector<std::string> rates;

  CLI::App cli("Runs Ember's engine against simulated nodes, load and faults.");
  cli.add_option("--seed", options.seed, "The seed to run, or the first of several");
  cli.add_option("--seeds", seeds, "How many seeds to run, one line each");
  cli.add_option("--seconds", safety_s, "Simulated length of the phase with faults")
      ->check(CLI::Range(1, 86'400));
  cli.add_option("--fault", rates, "CLASS=PER_MILLE; sets the rate and keeps all classes on");
  cli.add_flag("--until-violation", until_violation, "Of several seeds, end at one that fails");
  cli.add_flag("--no-check", no_check, "Run without the checkers: to see how fast the engine is");
  cli.add_flag("--trace", trace, "Print every event and action");
  CLI11_PARSE(cli, argc, argv);

  options.safety = Duration::seconds(safety_s);
  if (no_check) options.checks = Checks::off;
  for (const std::string& rate : rates) {
    options.vary_faults = false;
    if (set_rate(options.faults, rate)) continue;
    std::fprintf(stderr, "--fault %s: expected CLASS=PER_MILLE with one of:", rate.c_str());
    for (const FaultClass& one : fault_classes()) {
      std::fprintf(stderr, " %s", std::string(one.name).c_str());
    }
    std::fprintf(stderr, "\n");
    return 2;
  }
  std::signal(SIGABRT, on_abort);
  if (seeds <= 1) return run_one(options, trace);
  return run_many(options, seeds, until_violation ? AfterViolation::end : AfterViolation::go_on);
}
