// Runs functions at the ticks of their schedules: those of the current versions of deployed apps.
//
// A tick is one asynchronous call. The call and the word that the tick is handled are one write,
// and the call's idempotency key is made of app, function and tick, so that no restart makes two
// calls of one tick. What was missed while no server was there is decided once, at the start. A
// schedule is the same over redeploys as long as its text is; another one, and one that comes back
// after its app was stopped, begins at its deploy.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "control/app_catalog.h"
#include "control/background.h"
#include "control/durable_calls.h"
#include "control/engine_driver.h"
#include "control/schedule_service.h"
#include "control/time_zones.h"

namespace ember {

class Schedules final : public ScheduleService {
 public:
  Schedules(EngineDriver& driver, const AppCatalog& catalog, Store& store, Background& background,
            DurableCalls& calls, TimeZones& zones);

  // At the start: what the store has, before the apps come by refresh(); then begin().
  void restore(std::vector<ScheduleRecord> records);
  void begin();
  // The app has other functions now, or has been stopped.
  void refresh(const App& app);
  // At a drain: no more ticks.
  void stop() { stopped_ = true; }

  void list(Done done) override;
  void run(std::string app, std::string function, KeyId caller, OnStarted done) override;
  void pause(std::string app, std::string function, Pausing pausing, Done done) override;

 private:
  using EntryKey = std::pair<AppId, std::string>;
  struct Entry {
    std::string app_name;
    Schedule schedule;
    const TimeZone* zone = nullptr;
    ScheduleRecord record;
    Time next = Time::never();  // the first tick that is not handled
    Time retry_at = {};         // not before then, after a call that was not accepted; or zero
    std::string last_state;     // of the last call, once the store was asked; or empty
    bool is_calling = false;    // a call of a tick is on its way to the disk
  };

  void adopt(const App& app, const FunctionPtr& function, Batch& batch);
  void handle_missed(Entry& entry);
  void wake(Time planned_for);
  void plan();
  void consider(const EntryKey& key, Entry& entry);
  void call(const EntryKey& key, Entry& entry, Time tick, std::int64_t older);
  void called(const EntryKey& key, const ScheduleRecord& handled, const StartedCall& started,
              Acceptance acceptance);
  void find_next(Entry& entry);
  void note_state(const EntryKey& key, const StoredCall& last);
  void write(Batch batch);
  Result<EntryKey> key_of(const std::string& app, const std::string& function) const;
  static Ticks ticks_of(const Entry& entry);

  EngineDriver& driver_;
  const AppCatalog& catalog_;
  Store& store_;
  Background& background_;
  DurableCalls& calls_;
  TimeZones& zones_;
  std::map<EntryKey, ScheduleRecord> restored_;  // whose apps have not come yet
  std::map<EntryKey, Entry> entries_;
  Time planned_ = Time::never();  // the next wake; others that were planned do nothing
  bool begun_ = false;
  bool stopped_ = false;
};

}  // namespace ember
