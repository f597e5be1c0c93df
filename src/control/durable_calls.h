// Calls that are on disk before they are accepted, and whose outcome is kept there. A call lives in
// memory from its acceptance until its end is on disk; what has ended is asked of the store. After
// a restart those without an end run again, from their beginning. Where a URL is to be told of the
// end, that is one write with it (webhooks.h).
//
// Nothing is refused for a limit once it has been accepted: limits are asked before the write, and
// count what is being written.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/async_calls.h"
#include "control/background.h"
#include "control/calls.h"
#include "control/webhooks.h"
#include "store/store.h"

namespace ember {

class DurableCalls final : public AsyncCalls {
 public:
  struct Parts {
    EngineDriver& driver;
    AppCatalog& catalog;
    Calls& calls;
    Store& store;
    Background& background;
    IdSource& ids;
    Webhooks& webhooks;
    Duration kept;  // from a call's end until it is forgotten, at least
    std::function<Result<std::string>(CallId)> describe;  // its document, of one that has not ended
    std::function<void(CallId, Done)> graph;
    // What one that has ended left for a next attempt goes on to another call of its function.
    std::function<void(const Function&, CallId from, CallId to, std::function<void()>)> hand_on;
  };

  explicit DurableCalls(Parts parts);
  ~DurableCalls() override;

  // What is to be on disk with a call, or not at all.
  using Beside = std::function<std::optional<ScheduleRecord>(CallId)>;
  // Of Ember's own making: its key may begin with kOwnKeys, as no other's may.
  void spawn_beside(AsyncRequest request, Beside beside, OnStarted done);
  static constexpr std::string_view kOwnKeys = "ember:";
  // "waiting" or "running"; empty once its end is on disk.
  std::string_view live_state(CallId call) const;

  // Those without an end, as the last server left them; once all apps are there.
  void restore(std::deque<CallRecord> calls);
  // At a drain: what does not run yet is left to the next server.
  void leave_waiting();
  // Whether all ends are on disk, and nothing is on its way to be accepted.
  bool is_settled() const { return live_.empty() && writing_ == 0; }

  void spawn(AsyncRequest request, OnStarted done) override;
  void outcome(CallId call, Duration patience,
               std::function<void(Result<CallOutcome>)> done) override;
  void repeat(CallId call, KeyId caller, OnStarted done) override;
  void list(std::string state, std::string app, std::size_t limit, Done done) override;
  void show(CallId call, Done done) override;
  void graph(CallId call, Done done) override { parts_.graph(call, std::move(done)); }

 private:
  class Live;
  using OnOutcome = std::function<void(Result<CallOutcome>)>;

  std::optional<CallFailure> full(const Function& function, KeyId caller, std::size_t bytes) const;
  CallRecord record_of(AsyncRequest request, std::string request_sha256);
  void accept(CallRecord record, PoolId pool, const Beside& beside, OnStarted done);
  void spawn_once(AsyncRequest request, FunctionPtr function, Beside beside, OnStarted done);
  void free_key(const std::string& key);
  void start(CallRecord record);
  void ended(Live& call, CallOutcome outcome);
  void write_end(CallId call);
  void end_is_written(CallId call, const Result<>& result);
  void give_up_waiting(CallId call, std::uint64_t serial);
  void forget_old_later();

  Parts parts_;
  std::map<CallId, std::unique_ptr<Live>> live_;
  std::map<PoolId, std::uint32_t> promised_;  // being written
  std::size_t writing_ = 0;
  std::size_t held_bytes_ = 0;  // of arguments, of calls that are written or have not ended
  // Of requests with a key that is being looked up or written: those that came with it since.
  std::map<std::string, std::vector<std::function<void()>>> keys_in_use_;
  std::uint64_t last_serial_ = 0;
  bool leaving_ = false;
  bool forgetting_ = false;  // a look at what is old is planned
};

}  // namespace ember
