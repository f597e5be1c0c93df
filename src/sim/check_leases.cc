// A leased device is the person's alone: free when it is leased, no container is placed there, no
// other lease has it, and it is back at its time. The rows of a lease tile it, but for the time in
// which its node was lost, also over restarts of the driver.
#include <algorithm>
#include <set>

#include "sim/checker.h"
#include "sim/overload.h"

namespace ember {
namespace {

constexpr Duration kTimerDelay = Duration::milliseconds(50);  // the latest that a timer comes

bool meet(const std::vector<DeviceId>& a, const std::vector<DeviceId>& b) {
  return std::find_first_of(a.begin(), a.end(), b.begin(), b.end()) != a.end();
}

class CheckLeases : public Checker {
 public:
  void on_restart() override {
    recorded_until_.clear();
    waiting_.clear();
  }

  void on_event(const Step& step) override {
    std::visit(Overload{
                   [&](const LeaseAsked& one) { asked_ = one; },
                   [&](const LeaseEnded& one) { waiting_.erase(one.lease); },
                   [&](const LeaseRestored& one) {
                     recorded_until_[one.lease] = one.billed_until;
                     interrupted_.insert(one.lease);
                   },
                   [&](const NodeLost& one) { interrupt(step, one.node); },
                   [](const auto&) {},
               },
               step.event);
  }

  void on_action(const Step& step, const Action& action) override {
    std::visit(Overload{
                   [&](const GrantLease& one) { on_grant(step, one); },
                   [&](const RefuseLease& one) { answered_ = one.lease; },
                   [&](const StartContainer& one) { on_start(step, one); },
                   [&](const RecordUsage& one) {
                     if (one.row.lease) on_row(step, one.row);
                   },
                   [&](const ReleaseLease& one) { on_release(step, one); },
                   [](const auto&) {},
               },
               action);
  }

  void after_step(const Step& step, const Engine&) override {
    if (const auto* asked = std::get_if<LeaseAsked>(&step.event)) {
      const bool waits = asked->if_none_free == IfNoneFree::wait;
      if (answered_ != asked->lease && !waits) {
        step.findings.add("who asks for a lease is answered", asked->lease.text());
      }
      if (answered_ != asked->lease) waiting_[asked->lease] = *asked;
    }
    for (const auto& [id, lease] : step.facts.leases()) {
      if (step.now <= lease.until + kTimerDelay) continue;
      // One that was restored after its time ends with the first timer.
      if (!std::holds_alternative<TimerDue>(step.event)) continue;
      step.findings.add("a lease ends at its time", id.text());
    }
  }

  void at_end(const EndOfRun& end) override {
    if (!end.engine.leases().empty()) {
      end.findings.add("leases end and waiting ones are granted",
                       end.engine.leases().front().lease.text());
    }
    std::map<LeaseId, Time> covered;
    for (const auto& [key, row] : end.store.rows()) {
      if (!row.lease) continue;
      const StoredLease& lease = end.store.leases().at(row.lease);
      Time& until = covered.try_emplace(row.lease, lease.grant.from).first->second;
      const bool whole = row.window_start == until || interrupted_.contains(row.lease);
      if (row.window_start < until || !whole) wrong(end.findings, row.lease, "as it is on disk");
      until = row.window_end;
    }
    for (const auto& [id, lease] : end.store.leases()) {
      const Time until = covered.contains(id) ? covered.at(id) : lease.grant.from;
      if (until > lease.grant.until) wrong(end.findings, id, "is billed beyond its end");
      if (until != lease.released && !interrupted_.contains(id)) {
        wrong(end.findings, id, "is not billed to its end");
      }
    }
  }

 private:
  static void wrong(Findings& findings, LeaseId id, const char* what) {
    findings.add("usage rows tile a lease", id.text() + ": " + what);
  }

  void interrupt(const Step& step, NodeId node) {
    for (const auto& [id, lease] : step.facts.leases()) {
      if (lease.node == node) interrupted_.insert(id);
    }
  }

  void on_grant(const Step& step, const GrantLease& grant) {
    answered_ = grant.lease;
    const auto waiting = waiting_.find(grant.lease);
    const LeaseAsked& asked = waiting == waiting_.end() ? asked_ : waiting->second;
    const auto node = step.facts.nodes().find(grant.node);
    const bool known = node != step.facts.nodes().end() && asked.lease == grant.lease;
    if (!known || !gives(node->second, asked.gpu, grant.devices) ||
        grant.until != grant.from + asked.length || grant.from > step.now) {
      step.findings.add("a lease is of available devices that were asked for", grant.lease.text());
    }
    for (const auto& [id, other] : step.facts.leases()) {
      if (meet(other.devices, grant.devices)) {
        step.findings.add("no device is leased twice", grant.lease.text() + " and " + id.text());
      }
    }
    for (const auto& [id, container] : step.facts.containers()) {
      if (meet(container.devices, grant.devices)) {
        step.findings.add("only free devices are leased",
                          grant.lease.text() + " has one of " + id.text());
      }
    }
    recorded_until_[grant.lease] = grant.from;
    waiting_.erase(grant.lease);
  }

  static bool gives(const NodeCapacity& node, const GpuDemand& demand,
                    const std::vector<DeviceId>& devices) {
    return std::ranges::any_of(demand.choices, [&](const GpuChoice& choice) {
      const auto fits = std::ranges::count_if(node.devices, [&](const Device& device) {
        return std::ranges::count(devices, device.id) == 1 && device.type == choice.type &&
               device.state == DeviceState::available &&
               device.vram_bytes >= demand.least_vram_bytes;
      });
      return devices.size() == choice.count && fits == static_cast<std::ptrdiff_t>(choice.count);
    });
  }

  static void on_start(const Step& step, const StartContainer& start) {
    for (const auto& [id, lease] : step.facts.leases()) {
      if (!meet(lease.devices, start.devices)) continue;
      step.findings.add("no container is placed on a leased device",
                        start.container.text() + " has one of " + id.text());
    }
  }

  void on_row(const Step& step, const UsageRow& row) {
    const auto lease = step.facts.leases().find(row.lease);
    const auto recorded = recorded_until_.find(row.lease);
    if (lease == step.facts.leases().end() || recorded == recorded_until_.end()) {
      return wrong(step.findings, row.lease, "a row of one that is not there");
    }
    const std::int64_t length_ms = (row.window_end - row.window_start).whole_ms();
    const bool sound = row.meter == Meter::gpu && row.phase == Phase::leased && length_ms > 0 &&
                       row.quantity == length_ms && row.window_start.us % 1000 == 0 &&
                       row.units == static_cast<std::int64_t>(lease->second.devices.size()) &&
                       !row.gpu_type.empty();
    if (!sound) wrong(step.findings, row.lease, "a row that is not of it");
    const bool goes_on = row.window_start == recorded->second ||
                         (row.window_start > recorded->second && interrupted_.contains(row.lease));
    if (!goes_on) wrong(step.findings, row.lease, "a gap or an overlap");
    if (row.window_end > std::min(step.now, lease->second.until)) {
      wrong(step.findings, row.lease, "a row beyond its end");
    }
    recorded->second = row.window_end;
  }

  void on_release(const Step& step, const ReleaseLease& release) {
    const auto lease = step.facts.leases().find(release.lease);
    if (lease == step.facts.leases().end() || release.at > lease->second.until) {
      return wrong(step.findings, release.lease, "ends after its time, or twice");
    }
    const auto recorded = recorded_until_.find(release.lease);
    const bool whole = recorded != recorded_until_.end() && recorded->second == release.at;
    if (!whole && !interrupted_.contains(release.lease)) {
      wrong(step.findings, release.lease, "it ends, and is not recorded to there");
    }
  }

  LeaseAsked asked_;
  LeaseId answered_;
  std::map<LeaseId, LeaseAsked> waiting_;
  std::map<LeaseId, Time> recorded_until_;
  std::set<LeaseId> interrupted_;  // their node was lost, or the driver died
};

}  // namespace

std::unique_ptr<Checker> check_leases() { return std::make_unique<CheckLeases>(); }

}  // namespace ember
