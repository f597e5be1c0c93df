// The usage rows of every container tile its life, as the node witnessed it: windows without gap or
// overlap from the millisecond it began to the one it ended in, for every meter it holds, and over
// the phases of a window each millisecond once. How long each phase was is reckoned here anew.
//
// Two things that the engine cannot know in time: a window may have been recorded before a late
// word of an earlier end comes in, unless it comes with the adoption; and a lost node's containers
// count as ended when it is given up.
#include <algorithm>
#include <array>
#include <set>

#include "sim/checker.h"
#include "sim/overload.h"

namespace ember {
namespace {

constexpr Time floor_to_ms(Time time) { return Time::from_ms(time.whole_ms()); }
constexpr std::size_t kPhases = 4;
constexpr std::size_t index(Phase phase) { return static_cast<std::size_t>(phase); }

class CheckUsage : public Checker {
 public:
  void on_restart() override { metered_.clear(); }
  void on_event(const Step& step) override;
  void on_action(const Step& step, const Action& action) override;
  void after_step(const Step& step, const Engine&) override { begin_adopted(step); }

 private:
  struct Metered {
    std::int64_t cpu_millicores = 0, memory_bytes = 0, devices = 0, share_bytes = 0;
    Time covered;                             // by whole windows
    Time adopted_dead;                        // from where; zero for one that lived
    Time window_end;                          // of the window whose rows are coming in; or zero
    std::map<Meter, std::int64_t> window_ms;  // so far
    std::int64_t windows = 0;
    std::array<std::int64_t, kPhases> row_ms{};  // of the CPU meter
    // The reckoning.
    Phase phase = Phase::boot;
    std::set<InputId> running;
    Time reckoned;
    std::array<std::int64_t, kPhases> us{};
  };

  void begin(const Step& step, ContainerId id, Time at, Phase phase);
  void begin_adopted(const Step& step);
  void set_phase(const Step& step, ContainerId id, Phase phase);
  static void reckon(Metered& metered, Time now);
  void on_row(const Step& step, const UsageRow& row);
  void close_window(const Step& step, ContainerId id, Metered& metered);
  void on_release(const Step& step, ContainerId id);
  void leave(const Step& step, InputId input);
  void note_recorded(const Step& step, ContainerId id);
  Metered* find(ContainerId id) {
    const auto found = metered_.find(id);
    return found == metered_.end() ? nullptr : &found->second;
  }

  std::map<ContainerId, Metered> metered_;  // those whose resources are confirmed
  Time recorded_before_;                    // of the container that ends in this step
};

void CheckUsage::begin(const Step& step, ContainerId id, Time at, Phase phase) {
  const ContainerFact* fact = step.facts.container(id);
  const PoolFact* pool = fact ? step.facts.pool(fact->pool) : nullptr;
  if (!pool || metered_.contains(id)) return;
  const Resources& resources = pool->spec.settings.resources;
  Metered& metered = metered_[id];
  metered.cpu_millicores = resources.cpu_millicores;
  metered.memory_bytes = resources.memory_bytes;
  metered.share_bytes = resources.gpu.share_bytes;
  metered.devices = static_cast<std::int64_t>(fact->devices.size());
  metered.covered = metered.reckoned = floor_to_ms(at);
  metered.phase = phase;
  reckon(metered, step.now);
  if (fact->stopping || fact->adopted) return;
  if (fact->loading) metered.phase = Phase::load;
  if (fact->ready) metered.phase = Phase::idle;
}

// An adopted container is in the facts only after its event.
void CheckUsage::begin_adopted(const Step& step) {
  const auto* adopted = std::get_if<ContainerAdopted>(&step.event);
  if (!adopted) return;
  begin(step, adopted->container, std::max(adopted->billed_until, adopted->started), Phase::idle);
  Metered* metered = find(adopted->container);
  if (metered && adopted->ended.us != 0 && metered->windows == 0) {
    metered->adopted_dead = metered->covered;
  }
}

void CheckUsage::reckon(Metered& metered, Time now) {
  const Phase phase = metered.running.empty() ? metered.phase : Phase::execute;
  metered.us[index(phase)] += std::max<std::int64_t>((now - metered.reckoned).us, 0);
  metered.reckoned = std::max(metered.reckoned, now);
}

void CheckUsage::set_phase(const Step& step, ContainerId id, Phase phase) {
  const ContainerFact* fact = step.facts.container(id);
  Metered* metered = find(id);
  if (!fact || !metered || fact->stopping || fact->ready) return;
  if (phase == Phase::load && fact->loading) return;
  reckon(*metered, step.now);
  metered->phase = phase;
}

void CheckUsage::note_recorded(const Step& step, ContainerId id) {
  Metered* metered = find(id);
  if (!metered) return;
  if (metered->window_end != Time{}) close_window(step, id, *metered);
  const bool dead = metered->adopted_dead != Time{};
  recorded_before_ = dead ? metered->adopted_dead : metered->covered;
}

void CheckUsage::on_event(const Step& step) {
  recorded_before_ = {};
  std::visit(
      Overload{
          [&](const ContainerStarted& one) { begin(step, one.container, one.at, Phase::boot); },
          [&](const ContainerLoading& one) { set_phase(step, one.container, Phase::load); },
          [&](const ContainerReady& one) { set_phase(step, one.container, Phase::idle); },
          [&](const ContainerExited& one) { note_recorded(step, one.container); },
          [](const auto&) {},
      },
      step.event);
}

void CheckUsage::on_action(const Step& step, const Action& action) {
  begin_adopted(step);
  std::visit(Overload{
                 [&](const DispatchInput& one) {
                   if (Metered* metered = find(one.container)) {
                     reckon(*metered, step.now);
                     metered->running.insert(one.input);
                   }
                 },
                 [&](const AnswerInput& one) { leave(step, one.input); },
                 [&](const FailInput& one) { leave(step, one.input); },
                 [&](const RetryInput& one) { leave(step, one.input); },
                 [&](const StopContainer& one) {
                   if (Metered* metered = find(one.container)) {
                     reckon(*metered, step.now);
                     metered->running.clear();
                   }
                 },
                 [&](const RecordUsage& one) { on_row(step, one.row); },
                 [&](const ReleaseContainer& one) { on_release(step, one.container); },
                 [](const auto&) {},
             },
             action);
}

void CheckUsage::leave(const Step& step, InputId id) {
  const InputFact* input = step.facts.input(id);
  Metered* metered = input ? find(input->container) : nullptr;
  if (!metered) return;
  reckon(*metered, step.now);
  metered->running.erase(id);
}

void CheckUsage::on_row(const Step& step, const UsageRow& row) {
  if (row.meter == Meter::egress || row.lease) return;  // check_egress.cc, check_leases.cc
  Metered* metered = find(row.container);
  const auto wrong = [&](const char* what) {
    step.findings.add("usage rows tile a container's life", row.container.text() + ": " + what);
  };
  if (!metered) return wrong("a row before it held anything");
  if (metered->window_end != Time{} && row.window_start != metered->covered) {
    close_window(step, row.container, *metered);
  }
  if (row.window_start != metered->covered) return wrong("a gap or an overlap of windows");
  if (metered->window_end != Time{} && row.window_end != metered->window_end) {
    return wrong("two windows from one moment");
  }
  if (row.window_end <= row.window_start || row.window_end.us % 1000 != 0) {
    return wrong("a window that is not whole milliseconds");
  }
  if (row.window_end > step.now) return wrong("a window that ends in the future");
  const std::int64_t units = row.meter == Meter::gpu   ? metered->devices
                             : row.meter == Meter::cpu ? metered->cpu_millicores
                                                       : metered->memory_bytes;
  if (row.units != units || units == 0) return wrong("other units than it holds");
  if ((row.meter == Meter::gpu) == row.gpu_type.empty()) return wrong("a wrong GPU type");
  if (row.quantity <= 0) return wrong("a row without time");
  const std::int64_t share_bytes = row.meter == Meter::gpu ? metered->share_bytes : 0;
  if (row.share_bytes != share_bytes || row.device_bytes < share_bytes) {
    return wrong("another share than it holds");
  }
  metered->window_end = row.window_end;
  metered->window_ms[row.meter] += row.quantity;
  if (row.meter == Meter::cpu) metered->row_ms[index(row.phase)] += row.quantity;
}

void CheckUsage::close_window(const Step& step, ContainerId id, Metered& metered) {
  const std::int64_t length = (metered.window_end - metered.covered).whole_ms();
  const std::size_t meters = metered.devices > 0 ? 3 : 2;
  bool whole = metered.window_ms.size() == meters;
  for (const auto& [meter, ms] : metered.window_ms) whole = whole && ms == length;
  if (!whole) {
    step.findings.add("each millisecond lands in one phase of every meter",
                      id.text() + ": the rows of a window of " + std::to_string(length) + " ms");
  }
  metered.covered = metered.window_end;
  metered.window_end = {};
  metered.window_ms.clear();
  ++metered.windows;
}

void CheckUsage::on_release(const Step& step, ContainerId id) {
  Metered* metered = find(id);
  if (!metered) return;
  const auto* exited = std::get_if<ContainerExited>(&step.event);
  const Time at = exited ? std::min(exited->at, step.now) : step.now;
  const Time expected = std::max(floor_to_ms(at), recorded_before_);
  if (metered->window_end != Time{}) close_window(step, id, *metered);
  if (metered->covered != expected) {
    step.findings.add("usage rows tile a container's life",
                      id.text() + " is billed until " + std::to_string(metered->covered.us) +
                          " us and ended at " + std::to_string(at.us));
  }
  reckon(*metered, at);
  const std::int64_t slack_us = 1000 * (metered->windows + 2) + (step.now - at).us;
  for (std::size_t phase = 0; phase < kPhases; ++phase) {
    const std::int64_t off_us = metered->row_ms[phase] * 1000 - metered->us[phase];
    if (std::max(off_us, -off_us) <= slack_us) continue;
    step.findings.add("each millisecond is billed in the phase it was spent in",
                      id.text() + ": " + std::string(phase_name(static_cast<Phase>(phase))) +
                          " is off by " + std::to_string(off_us) + " us");
  }
  metered_.erase(id);
}

}  // namespace

std::unique_ptr<Checker> check_usage() { return std::make_unique<CheckUsage>(); }

}  // namespace ember
