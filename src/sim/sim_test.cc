#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "sim/agenda.h"
#include "sim/simulation.h"

namespace ember {
namespace {

SimOptions with_seed(std::uint64_t seed) {
  SimOptions options;
  options.seed = seed;
  return options;
}

void expect_clean(const SimReport& report) {
  EXPECT_FALSE(report.violation.has_value())
      << "seed " << report.seed << ": " << report.violation->invariant << ": "
      << report.violation->detail;
}

TEST(Simulation, FindsNoViolationInTheFirstSeeds) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) expect_clean(simulate(with_seed(seed)));
}

TEST(Simulation, RunsOneSeedTheSameTwice) {
  const SimReport first = simulate(with_seed(7));
  const SimReport second = simulate(with_seed(7));
  EXPECT_EQ(first.state_hash, second.state_hash);
  EXPECT_EQ(first.counts.events, second.counts.events);
  EXPECT_EQ(first.billed_nano_usd, second.billed_nano_usd);
}

TEST(Simulation, IsNotChangedByBeingTraced) {
  std::uint64_t lines = 0;
  const SimReport traced = simulate(with_seed(7), [&](Time, const std::string&) { ++lines; });
  EXPECT_EQ(traced.state_hash, simulate(with_seed(7)).state_hash);
  EXPECT_GE(lines, traced.counts.events + traced.counts.actions);
}

TEST(Simulation, IsNotChangedByTheCheckers) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SimOptions unchecked = with_seed(seed);
    unchecked.checks = Checks::off;
    const SimReport first = simulate(with_seed(seed));
    const SimReport second = simulate(unchecked);
    EXPECT_EQ(first.state_hash, second.state_hash);
    EXPECT_EQ(first.counts.events, second.counts.events);
    EXPECT_EQ(first.simulated, second.simulated);
  }
}

TEST(Simulation, RunsDifferentSeedsDifferently) {
  std::set<std::uint64_t> hashes;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    hashes.insert(simulate(with_seed(seed)).state_hash);
  }
  EXPECT_EQ(hashes.size(), 10u);
}

TEST(Simulation, AnswersEveryInputOnceUnlessItsDriverDied) {
  SimOptions options = with_seed(8);
  options.vary_faults = false;
  options.faults.driver_crash = 0;
  const SimReport report = simulate(options);
  expect_clean(report);
  ASSERT_EQ(report.counts.restarts, 0u);
  EXPECT_EQ(report.counts.answered + report.counts.failed, report.inputs);
}

TEST(Simulation, AcceptsCallsForLaterThroughCrashesOfItsDriver) {
  std::uint64_t restarts = 0;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SimOptions options = with_seed(seed);
    options.vary_faults = false;
    options.faults.driver_crash = 60;
    const SimReport report = simulate(options);
    expect_clean(report);
    EXPECT_GT(report.counts.jobs, 0u);
    restarts += report.counts.restarts;
  }
  EXPECT_GT(restarts, 5u);
}

TEST(Simulation, LetsEveryClassOfFaultStrike) {
  std::set<std::string_view> struck;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SimOptions options = with_seed(seed);
    options.vary_faults = false;
    for (const auto& [name, count] : simulate(options).faults) struck.insert(name);
  }
  EXPECT_EQ(struck.size(), fault_classes().size());
}

TEST(Simulation, StrikesWithNothingThatIsSwitchedOff) {
  SimOptions options = with_seed(5);
  options.vary_faults = false;
  for (const FaultClass& one : fault_classes()) options.faults.*one.rate = 0;
  const SimReport report = simulate(options);
  expect_clean(report);
  EXPECT_TRUE(report.faults.empty());
}

TEST(Agenda, GivesTasksByTimeThenByOrderOfScheduling) {
  Agenda<int> agenda(Time{100});
  agenda.at(Time{300}, 1);
  agenda.at(Time{200}, 2);
  agenda.at(Time{300}, 3);
  agenda.at(Time{50}, 4);  // has passed: now
  EXPECT_EQ(agenda.pop(), 4);
  EXPECT_EQ(agenda.now(), Time{100});
  EXPECT_EQ(agenda.pop(), 2);
  EXPECT_EQ(agenda.pop(), 1);
  EXPECT_EQ(agenda.pop(), 3);
  EXPECT_TRUE(agenda.empty());
}

}  // namespace
}  // namespace ember
