#include "control/schedules.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <set>

#include "control/json.h"
#include "control/schedule_spec.h"

namespace ember {
namespace {

constexpr Duration kCallRetry = Duration::seconds(1);
constexpr Duration kLongestSleep = Duration::seconds(60);  // the machine's clock may be set
constexpr std::int64_t kMostCounted = 1'000'000;

std::string tick_key(AppId app, const std::string& function, Time tick) {
  std::string key(DurableCalls::kOwnKeys);
  key.append("tick/").append(app.text()).append("/").append(function).append("/");
  return key.append(std::to_string(tick.us));
}

JsonValue ms_or_null(Time time) {
  return time == Time{} || time == Time::never() ? JsonValue() : JsonValue(time.whole_ms());
}

ScheduleRecord new_record(AppId app, const std::string& function, std::string text, Time from) {
  ScheduleRecord record;
  record.app = app;
  record.function = function;
  record.text = std::move(text);
  record.anchor = record.handled = from;
  return record;
}

}  // namespace

Schedules::Schedules(EngineDriver& driver, const AppCatalog& catalog, Store& store,
                     Background& background, DurableCalls& calls, TimeZones& zones)
    : driver_(driver),
      catalog_(catalog),
      store_(store),
      background_(background),
      calls_(calls),
      zones_(zones) {}

void Schedules::restore(std::vector<ScheduleRecord> records) {
  for (ScheduleRecord& record : records) {
    EntryKey key{record.app, record.function};
    restored_.emplace(std::move(key), std::move(record));
  }
}

void Schedules::begin() {
  begun_ = true;
  Batch batch;
  for (const auto& [key, record] : restored_) {
    batch.emplace_back(ForgottenSchedule{key.first, key.second});
  }
  restored_.clear();
  write(std::move(batch));
  for (auto& [key, entry] : entries_) handle_missed(entry);
  plan();
}

// A tick at this very moment is not missed.
void Schedules::handle_missed(Entry& entry) {
  const Time now = driver_.now();
  if (entry.record.paused || entry.schedule.missed == MissedTicks::run_once) return;
  const Ticks ticks = ticks_of(entry);
  const auto newest = ticks.newest(entry.record.handled, now);
  if (!newest || *newest == now) return;
  entry.record.missed += ticks.count(entry.record.handled, *newest, kMostCounted);
  entry.record.handled = *newest;
  find_next(entry);
  write({entry.record});
}

void Schedules::refresh(const App& app) {
  Batch batch;
  std::set<std::string> wanted;
  if (!app.record.ephemeral && !app.record.stopped) {
    for (const FunctionPtr& function : app.functions) {
      if (!function->spec.schedule) continue;
      wanted.insert(function->spec.name);
      adopt(app, function, batch);
    }
  }
  std::erase_if(entries_, [&](const auto& one) {
    const EntryKey& key = one.first;
    const bool goes = key.first == app.record.id && !wanted.contains(key.second);
    if (goes) batch.emplace_back(ForgottenSchedule{key.first, key.second});
    return goes;
  });
  write(std::move(batch));
  if (begun_) plan();
}

void Schedules::adopt(const App& app, const FunctionPtr& function, Batch& batch) {
  const EntryKey key{app.record.id, function->spec.name};
  const Schedule& schedule = *function->spec.schedule;
  const auto zone = zones_.find(schedule.timezone);
  auto restored = restored_.extract(key);
  if (!zone) {  // it was there at the deploy
    entries_.erase(key);
    return spdlog::error("{}.{} is not run by its schedule: {}", app.name(), key.second,
                         zone.error().message);
  }
  const auto [found, is_new] = entries_.try_emplace(key);
  Entry& entry = found->second;
  if (is_new && !restored.empty()) entry.record = std::move(restored.mapped());
  if (entry.record.text != schedule.text()) {
    const bool paused = entry.record.paused;
    batch.emplace_back(ForgottenSchedule{key.first, key.second});
    entry.record = new_record(key.first, key.second, schedule.text(), app.record.updated);
    entry.record.paused = paused;
    batch.emplace_back(entry.record);
  }
  entry.app_name = app.name();
  entry.schedule = schedule;
  entry.zone = *zone;
  find_next(entry);
}

Ticks Schedules::ticks_of(const Entry& entry) {
  return {entry.schedule, *entry.zone, entry.record.anchor};
}

void Schedules::find_next(Entry& entry) {
  entry.next = ticks_of(entry).first_after(entry.record.handled).value_or(Time::never());
}

void Schedules::write(Batch batch) {
  if (batch.empty()) return;
  store_.apply(std::move(batch), [](const Result<>& written) {
    if (!written) spdlog::error("a schedule cannot be written: {}", written.error().message);
  });
}

void Schedules::plan() {
  if (stopped_) return;
  Time next = Time::never();
  for (const auto& [key, entry] : entries_) {
    if (entry.record.paused || entry.is_calling) continue;
    next = std::min(next, std::max(entry.next, entry.retry_at));
  }
  if (next == Time::never()) return;
  const Time now = driver_.now();
  next = std::clamp(next, now, now + kLongestSleep);
  if (planned_ <= next) return;
  planned_ = next;
  driver_.after(next - now, [this, next] { wake(next); });
}

void Schedules::wake(Time planned_for) {
  if (planned_for != planned_ || stopped_) return;
  planned_ = Time::never();
  for (auto& [key, entry] : entries_) consider(key, entry);
  plan();
}

void Schedules::consider(const EntryKey& key, Entry& entry) {
  const Time now = driver_.now();
  if (entry.record.paused || entry.is_calling || std::max(entry.next, entry.retry_at) > now) return;
  const Ticks ticks = ticks_of(entry);
  const auto tick = ticks.newest(entry.record.handled, now);
  EMBER_ASSERT(tick);  // the next one is due
  const std::int64_t older = ticks.count(entry.record.handled, *tick, kMostCounted) - 1;
  const bool overlaps = !calls_.live_state(entry.record.last_call).empty();
  if (!overlaps || entry.schedule.overlap == Overlap::allow) {
    return call(key, entry, *tick, older);
  }
  entry.record.handled = *tick;
  entry.record.missed += older;
  ++entry.record.skipped;
  find_next(entry);
  write({entry.record});
}

void Schedules::call(const EntryKey& key, Entry& entry, Time tick, std::int64_t older) {
  entry.is_calling = true;
  AsyncRequest request{.app = entry.app_name,
                       .function = key.second,
                       .arguments = {BodyFormat::json, "{}"},
                       .idempotency_key = tick_key(key.first, key.second, tick)};
  // As it is once the call is on disk; shared by both who are told of the call.
  auto handled = std::make_shared<ScheduleRecord>(entry.record);
  handled->handled = handled->last_tick = tick;
  handled->missed += older;
  auto beside = [this, key, handled](CallId id) -> std::optional<ScheduleRecord> {
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.record.text != handled->text) return std::nullopt;
    handled->paused = found->second.record.paused;
    handled->last_call = id;
    return *handled;
  };
  calls_.spawn_beside(std::move(request), std::move(beside),
                      [this, key, handled](const StartedCall& started, Acceptance acceptance) {
                        called(key, *handled, started, acceptance);
                      });
}

void Schedules::called(const EntryKey& key, const ScheduleRecord& handled,
                       const StartedCall& started, Acceptance acceptance) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.is_calling = false;
  if (!started) {
    if (entry.retry_at == Time{}) {
      spdlog::error("a tick of {}.{} is tried again each second: {}", entry.app_name, key.second,
                    started.error().message);
    }
    entry.retry_at = driver_.now() + kCallRetry;
  } else if (entry.record.text == handled.text) {
    entry.record.handled = std::max(entry.record.handled, handled.handled);
    entry.record.last_tick = handled.last_tick;
    entry.record.missed = handled.missed;
    entry.record.last_call = *started;
    entry.retry_at = {};
    entry.last_state.clear();
    if (acceptance == Acceptance::repeated) write({entry.record});
    find_next(entry);
  }
  plan();
}

Result<Schedules::EntryKey> Schedules::key_of(const std::string& app,
                                              const std::string& function) const {
  const App* found = catalog_.find_app(app);
  if (!found || found->record.stopped) return catalog_.not_running(app);
  EntryKey key{found->record.id, function};
  if (entries_.contains(key)) return key;
  return {ErrorCode::not_found, "the app " + app + " has no function \"" + function.substr(0, 64) +
                                    "\" with a schedule; `ember schedule list` shows those there "
                                    "are"};
}

void Schedules::run(std::string app, std::string function, KeyId caller, OnStarted done) {
  if (auto key = key_of(app, function); !key) {
    return done(std::move(key).error(), Acceptance::fresh);
  }
  calls_.spawn({.app = std::move(app),
                .function = std::move(function),
                .arguments = {BodyFormat::json, "{}"},
                .caller = caller},
               std::move(done));
}

// In memory first: a record of a tick that is on its way says the same by then. Ticks that pass
// meanwhile are nobody's.
void Schedules::pause(std::string app, std::string function, Pausing pausing, Done done) {
  auto key = key_of(app, function);
  if (!key) return done(std::move(key).error());
  Entry& entry = entries_.at(*key);
  const bool paused = pausing == Pausing::pause;
  if (entry.record.paused && !paused) {
    entry.record.handled = std::max(entry.record.handled, driver_.now());
    find_next(entry);
  }
  const bool was_paused = std::exchange(entry.record.paused, paused);
  plan();
  std::string document = dump_json({{"app", app}, {"function", function}, {"paused", paused}});
  auto written = [this, key = *key, was_paused, document = std::move(document),
                  done = std::move(done)](const Result<>& result) {
    if (result) return done(document);
    const auto found = entries_.find(key);
    if (found != entries_.end()) found->second.record.paused = was_paused;
    plan();
    done(result.error());
  };
  store_.apply({entry.record}, background_.to_loop(std::move(written)));
}

// Its value may be large: the store is asked once.
void Schedules::note_state(const EntryKey& key, const StoredCall& last) {
  const auto found = entries_.find(key);
  if (found == entries_.end() || found->second.record.last_call != last.call.id) return;
  if (last.end) found->second.last_state = last.end->state;
}

void Schedules::list(Done done) {
  // Waits for the answers of the store on calls that have ended.
  struct Listing {
    JsonValue list = JsonValue::array();
    std::size_t open = 1;
    Done done;

    void close_one() {
      if (--open == 0) done(dump_json({{"schedules", std::move(list)}}));
    }
  };
  auto listing = std::make_shared<Listing>();
  listing->done = std::move(done);
  for (const auto& [key, entry] : entries_) {
    const ScheduleRecord& record = entry.record;
    const std::size_t place = listing->list.size();
    const std::string_view live = calls_.live_state(record.last_call);
    const std::string_view state = live.empty() ? entry.last_state : live;
    JsonValue value{{"app", entry.app_name}, {"function", key.second}, {"text", record.text}};
    value.update(to_json(entry.schedule));
    value["paused"] = record.paused;
    value["next_tick_ms"] = record.paused ? JsonValue() : ms_or_null(entry.next);
    value["last_tick_ms"] = ms_or_null(record.last_tick);
    value["last_call_id"] = record.last_call ? JsonValue(record.last_call.text()) : JsonValue();
    value["last_call_state"] = state.empty() ? JsonValue() : JsonValue(state);
    value["skipped"] = record.skipped;
    value["missed_ticks"] = record.missed;
    listing->list.push_back(std::move(value));
    if (!record.last_call || !state.empty()) continue;
    ++listing->open;
    auto looked_up = [this, listing, place, key](const Result<StoredCall>& found) {
      if (found.ok()) note_state(key, *found);
      if (found.ok() && found->end) listing->list[place]["last_call_state"] = found->end->state;
      listing->close_one();
    };
    store_.query_call(record.last_call, background_.to_loop(std::move(looked_up)));
  }
  listing->close_one();
}

}  // namespace ember
