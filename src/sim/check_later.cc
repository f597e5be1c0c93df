// Calls for later over all crashes: whoever was told that one is accepted finds it ended, once, and
// none is on disk twice. Each tick of a schedule is one call, or counted as missed.
#include <set>

#include "sim/checker.h"

namespace ember {
namespace {

constexpr std::int64_t kMostCounted = 1'000'000;

class CheckLater : public Checker {
 public:
  void at_end(const EndOfRun& end) override {
    for (const std::uint64_t key : end.later.told()) {
      if (end.store.jobs().contains(key)) continue;
      end.findings.add("no accepted call is lost", std::to_string(key));
    }
    for (const auto& [key, stored] : end.store.jobs()) {
      if (stored.copies != 1) end.findings.add("a key stands for one call", std::to_string(key));
      if (stored.ends == 1) continue;
      end.findings.add("an accepted call ends in exactly one way",
                       stored.job.input.text() + " has " + std::to_string(stored.ends) + " ends");
    }
    for (const SimSchedule& schedule : end.later.schedules()) check_ticks(end, schedule);
  }

 private:
  static void check_ticks(const EndOfRun& end, const SimSchedule& schedule) {
    const auto found = end.store.ticks().find(schedule.function);
    if (found == end.store.ticks().end()) return;  // none has come
    const auto& [record, run] = found->second;
    if (std::set(run.begin(), run.end()).size() != run.size()) {
      end.findings.add("no tick is run twice", schedule.function.text());
    }
    const UtcZone utc;
    const Ticks ticks(schedule.schedule, utc, schedule.anchor);
    const std::int64_t passed = ticks.count(schedule.anchor, record.handled, kMostCounted);
    const auto told = static_cast<std::int64_t>(run.size()) + record.missed;
    if (passed == told) return;
    end.findings.add("a tick is run or counted as missed",
                     schedule.function.text() + ": " + std::to_string(passed) + " ticks, " +
                         std::to_string(told) + " of them known");
  }
};

}  // namespace

std::unique_ptr<Checker> check_later() { return std::make_unique<CheckLater>(); }

}  // namespace ember
