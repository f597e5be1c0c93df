#include "sim/later.h"

#include <algorithm>

namespace ember {
namespace {

constexpr Duration kTickRetry = Duration::seconds(1);
constexpr std::int64_t kMostCounted = 1'000'000;

}  // namespace

void Later::begin(const Engine& engine) {
  engine_ = &engine;
  draining_ = false;
}

void Later::restore() {
  std::vector<Job> open;
  for (const auto& [key, stored] : parts_.store.jobs()) {
    if (stored.ends == 0) open.push_back(stored.job);
  }
  for (const Job& job : open) start(job);
  for (const SimSchedule& schedule : schedules_) handle_missed(schedule);
  plan_ticks();
}

void Later::crash() {
  engine_ = nullptr;
  writing_.clear();
  promised_.clear();
  live_.clear();
  left_.clear();
  calling_.clear();
  ++tick_serial_;
}

bool Later::ask(const Job& job) {
  if (!engine_) return false;
  if (parts_.store.jobs().contains(job.key)) {
    told_.insert(job.key);
    return true;
  }
  if (!draining_ && !writing_.contains(job.key)) write(job, {}, nullptr);
  return false;
}

// Whether there was room for it.
bool Later::write(const Job& job, FunctionId tick_of, const TickRecord* tick) {
  const auto pool = parts_.catalog.current_pool(job.function);
  if (!pool) return false;
  if (engine_->refusal(*pool, job.caller, promised_[*pool]).code != ReasonCode::none) return false;
  ++promised_[*pool];
  writing_[job.key] = {*pool, tick_of};
  StoreBatch batch;
  batch.accepted.push_back(job);
  if (tick) batch.ticks.push_back(*tick);
  parts_.store.write(std::move(batch));
  parts_.plan_commit();
  return true;
}

void Later::on_commit(const Committed& done) {
  for (const Job& job : done.accepted) {
    const auto written = writing_.extract(job.key);
    if (written.empty()) continue;
    --promised_[written.mapped().pool];
    told_.insert(job.key);
    if (!draining_) start(job);
    if (!written.mapped().tick_of) continue;
    calling_.erase(written.mapped().tick_of);
    plan_ticks();
  }
}

// Of what is deployed now. Where that is nothing it has failed.
void Later::start(const Job& job) {
  const auto pool = parts_.catalog.current_pool(job.function);
  if (!pool) {
    StoreBatch batch;
    batch.job_ends.push_back(job.key);
    parts_.store.write(std::move(batch));
    return parts_.plan_commit();
  }
  live_[job.input] = job.key;
  InputArrived arrival{job.input, CallId{job.input.value}, *pool, job.caller};
  arrival.admission = Admission::granted;
  arrival.priority = job.priority;
  arrival.expires = job.expires;
  parts_.handle(arrival);
}

void Later::ended(InputId input, StoreBatch& batch) {
  const auto job = live_.extract(input);
  if (job.empty() || left_.erase(input) > 0) return;
  batch.job_ends.push_back(job.mapped());
}

void Later::leave_waiting() {
  draining_ = true;
  for (const auto& [input, key] : std::map(live_)) {
    const auto where = engine_->explain(input);
    if (!where || where->code == ReasonCode::running) continue;
    left_.insert(input);
    parts_.handle(InputCancelled{input});
  }
}

// --- schedules -----------------------------------------------------------------------------------

TickRecord Later::record_of(const SimSchedule& schedule) const {
  const auto found = parts_.store.ticks().find(schedule.function);
  if (found != parts_.store.ticks().end()) return found->second.record;
  return {schedule.function, schedule.anchor, 0, {}};
}

// Ticks that passed while no driver was there.
void Later::handle_missed(const SimSchedule& schedule) {
  if (schedule.schedule.missed == MissedTicks::run_once) return;
  TickRecord record = record_of(schedule);
  const Ticks ticks = ticks_of(schedule);
  const auto newest = ticks.newest(record.handled, parts_.agenda.now());
  if (!newest) return;
  record.missed += ticks.count(record.handled, *newest, kMostCounted);
  record.handled = *newest;
  record.run = {};
  StoreBatch batch;
  batch.ticks.push_back(record);
  parts_.store.write(std::move(batch));
  parts_.plan_commit();
}

void Later::plan_ticks() {
  if (!ticking_ || !engine_) return;
  Time next = Time::never();
  for (const SimSchedule& schedule : schedules_) {
    if (calling_.contains(schedule.function)) continue;
    const Time handled = record_of(schedule).handled;
    next = std::min(next, ticks_of(schedule).first_after(handled).value_or(Time::never()));
  }
  if (next == Time::never()) return;
  if (next <= parts_.agenda.now()) next = parts_.agenda.now() + kTickRetry;
  parts_.agenda.at(next, TickDue{++tick_serial_});
}

void Later::on_tick(const TickDue& due) {
  if (due.serial != tick_serial_ || !ticking_ || !engine_ || draining_) return;
  for (const SimSchedule& schedule : schedules_) consider(schedule);
  plan_ticks();
}

// The newest that is due; older ones are missed.
void Later::consider(const SimSchedule& schedule) {
  if (calling_.contains(schedule.function)) return;
  TickRecord record = record_of(schedule);
  const Ticks ticks = ticks_of(schedule);
  const auto tick = ticks.newest(record.handled, parts_.agenda.now());
  if (!tick) return;
  record.missed += ticks.count(record.handled, *tick, kMostCounted) - 1;
  record.handled = *tick;
  record.run = tick;
  const auto number = static_cast<std::uint64_t>(ticks.count(schedule.anchor, *tick, kMostCounted));
  const std::uint64_t key = schedule.first_job + number;
  const Job job{key, InputId{kFirstJob + key}, schedule.function, {}, {}, Time::never()};
  if (write(job, schedule.function, &record)) calling_.insert(schedule.function);
}

}  // namespace ember
