// What is on disk at the end: for each life that a node has witnessed, rows that tile it once over
// all crashes and restarts; the ledger is the sum of them to the nano-dollar.
#include <algorithm>
#include <set>

#include "sim/checker.h"

namespace ember {
namespace {

constexpr Duration kLatestWord = Duration::seconds(30);  // of an end, and then some

struct Tiling {
  Time start, end;
  bool whole = true;
};

class CheckLedger : public Checker {
 public:
  // A container lost with its node before anybody heard that it had begun is not billed.
  void on_action(const Step& step, const Action& action) override {
    const auto* release = std::get_if<ReleaseContainer>(&action);
    const ContainerFact* fact = release ? step.facts.container(release->container) : nullptr;
    if (fact && !fact->confirmed) unbilled_.insert(release->container);
  }

  void at_end(const EndOfRun& end) override {
    Money total;
    for (const auto& [key, row] : end.store.rows()) total += price_of(row);
    if (total != end.store.total()) {
      end.findings.add("the ledger is the sum of the rows",
                       end.store.total().decimal() + " against " + total.decimal());
    }
    const std::map<ContainerId, Tiling> tilings = tile(end.store);
    for (const auto& [id, life] : end.witness) check_life(end, id, life, tilings);
    for (const auto& [id, tiling] : tilings) {
      if (!end.witness.contains(id)) end.findings.add("only lives are billed", id.text());
    }
  }

 private:
  static std::map<ContainerId, Tiling> tile(const StoreModel& store) {
    std::map<ContainerId, Tiling> tilings;
    std::map<std::pair<ContainerId, Time>, std::map<Meter, std::int64_t>> sums;
    for (const auto& [key, row] : store.rows()) {
      if (row.meter == Meter::egress || row.lease) continue;  // no part of a container's time
      const auto [found, first] = tilings.try_emplace(row.container);
      Tiling& tiling = found->second;
      if (first) tiling = {row.window_start, row.window_start, true};
      auto& meters = sums[{row.container, row.window_start}];
      if (meters.empty()) {
        tiling.whole &= row.window_start == tiling.end;
        tiling.end = row.window_end;
      }
      tiling.whole &= row.window_end == tiling.end;
      meters[row.meter] += row.quantity;
      tiling.whole &= meters[row.meter] <= (row.window_end - row.window_start).whole_ms();
    }
    return tilings;
  }

  void check_life(const EndOfRun& end, ContainerId id, const Life& life,
                  const std::map<ContainerId, Tiling>& tilings) const {
    const auto found = tilings.find(id);
    const std::int64_t life_ms = life.ended.whole_ms() - life.started.whole_ms();
    if (found == tilings.end()) {
      const bool excused = life.end != LifeEnd::seen || life_ms == 0 || unbilled_.contains(id);
      if (!excused) end.findings.add("every life is billed", id.text() + " is not");
      return;
    }
    const Tiling& tiling = found->second;
    if (!tiling.whole || tiling.start.whole_ms() != life.started.whole_ms()) {
      end.findings.add("usage rows tile a container's life", id.text() + ", as it is on disk");
    }
    if (life.end != LifeEnd::seen) return;
    const std::int64_t over_ms = tiling.end.whole_ms() - life.ended.whole_ms();
    if (over_ms >= 0 && over_ms <= kLatestWord.whole_ms()) return;
    end.findings.add("usage rows tile a container's life",
                     id.text() + " is billed " + std::to_string(over_ms) + " ms beyond its end");
  }

  std::set<ContainerId> unbilled_;
};

}  // namespace

std::unique_ptr<Checker> check_ledger() { return std::make_unique<CheckLedger>(); }

}  // namespace ember
