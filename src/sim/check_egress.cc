// Egress rows hold what nodes have seen leave their containers, each byte once: never more than has
// been told of, all of it when a container's end is heard, and on disk at the end of the run, over
// all crashes and restarts, what truly left.
//
// Nobody is billed for what only a lost node could tell, nor for a container lost before anybody
// heard that it had begun.
#include <algorithm>
#include <set>

#include "sim/checker.h"
#include "sim/overload.h"

namespace ember {
namespace {

constexpr const char* kOnce = "each byte of egress is billed once";

class CheckEgress : public Checker {
 public:
  void on_restart() override { containers_.clear(); }
  void on_event(const Step& step) override;
  void on_action(const Step& step, const Action& action) override;
  void at_end(const EndOfRun& end) override;

 private:
  struct Egress {
    std::int64_t told = 0;    // to this engine, the greatest total
    std::int64_t billed = 0;  // before this engine and by it
  };

  void tell(ContainerId id, std::int64_t total) {
    Egress& egress = containers_[id];
    egress.told = std::max(egress.told, total);
  }
  void on_row(const Step& step, const UsageRow& row);
  void on_release(const Step& step, const ReleaseContainer& release);

  std::map<ContainerId, Egress> containers_;  // that this engine was told of
  std::set<ContainerId> unheard_;             // of their last bytes
};

void CheckEgress::on_event(const Step& step) {
  std::visit(Overload{
                 [&](const EgressReported& one) {
                   // Before it is confirmed it is not metered, and the total comes again.
                   const ContainerFact* fact = step.facts.container(one.container);
                   if (fact && fact->confirmed) tell(one.container, one.total_bytes);
                 },
                 [&](const ContainerExited& one) { tell(one.container, one.egress_bytes); },
                 [&](const ContainerAdopted& one) {
                   if (step.facts.container(one.container)) return;
                   containers_[one.container] = {one.egress_billed_bytes, one.egress_billed_bytes};
                 },
                 [](const auto&) {},
             },
             step.event);
}

void CheckEgress::on_action(const Step& step, const Action& action) {
  if (const auto* usage = std::get_if<RecordUsage>(&action)) on_row(step, usage->row);
  if (const auto* release = std::get_if<ReleaseContainer>(&action)) on_release(step, *release);
}

void CheckEgress::on_row(const Step& step, const UsageRow& row) {
  if (row.meter != Meter::egress) return;
  const auto wrong = [&](const char* invariant, const std::string& what) {
    step.findings.add(invariant, row.container.text() + ": " + what);
  };
  if (row.quantity <= 0 || row.units != 1 || !row.gpu_type.empty()) {
    wrong("egress rows hold bytes", std::to_string(row.quantity));
  }
  if (row.window_end < row.window_start || row.window_end > step.now) {
    wrong("egress rows lie in a window", std::to_string(row.window_end.us));
  }
  Egress& egress = containers_[row.container];
  egress.billed += row.quantity;
  if (egress.billed <= egress.told) return;
  wrong(kOnce, std::to_string(egress.billed) + " bytes billed of " + std::to_string(egress.told));
}

void CheckEgress::on_release(const Step& step, const ReleaseContainer& release) {
  const ContainerFact* fact = step.facts.container(release.container);
  if (!fact) return;
  if (!fact->confirmed || release.cause == ExitCause::node_lost) unheard_.insert(release.container);
  const Egress egress = containers_[release.container];
  containers_.erase(release.container);
  if (!fact->confirmed || egress.billed == egress.told) return;
  step.findings.add(kOnce, release.container.text() + " ended with " +
                               std::to_string(egress.billed) + " bytes billed of " +
                               std::to_string(egress.told));
}

void CheckEgress::at_end(const EndOfRun& end) {
  std::map<ContainerId, std::int64_t> billed;
  for (const auto& [key, row] : end.store.rows()) {
    if (row.meter == Meter::egress) billed[row.container] += row.quantity;
  }
  for (const auto& [id, life] : end.witness) {
    const std::int64_t bytes = billed[id];
    billed.erase(id);
    const bool heard = life.end == LifeEnd::seen && !unheard_.contains(id);
    if (heard ? bytes == life.egress_bytes : bytes <= life.egress_bytes) continue;
    end.findings.add(kOnce, id.text() + " has " + std::to_string(bytes) + " bytes on disk of " +
                                std::to_string(life.egress_bytes) + " that left it");
  }
  for (const auto& [id, bytes] : billed) end.findings.add("only lives are billed", id.text());
}

}  // namespace

std::unique_ptr<Checker> check_egress() { return std::make_unique<CheckEgress>(); }

}  // namespace ember
