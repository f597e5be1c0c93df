#include "control/durable_calls.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "control/call_progress.h"
#include "control/digest.h"
#include "control/error_body.h"
#include "control/json.h"
#include "control/stored_call.h"

namespace ember {
namespace {

constexpr Duration kWriteRetry = Duration::seconds(1);
constexpr Duration kForgetEvery = Duration::seconds(60);
constexpr std::int64_t kRetryFullSeconds = 5;
constexpr std::size_t kMostHeldBytes = 1u << 30;
constexpr std::size_t kMostListed = 1000;
constexpr int kUnprocessable = 422;  // of HTTP: a key that stands for another request

CallFailure failure(ErrorCode code, std::string message) {
  return {{code, std::move(message)}, {}};
}

Error going_down() {
  return {ErrorCode::unavailable, "the server is going down; ask again once it is up again"};
}

// What is wrong with a request by itself.
std::optional<CallFailure> unacceptable(const AsyncRequest& request) {
  if (request.arguments.bytes.size() > kMaxAsyncArguments) {
    return failure(ErrorCode::payload_too_large,
                   "the arguments of an asynchronous call are over the limit of " +
                       std::to_string(kMaxAsyncArguments) +
                       " bytes; put them in a volume and pass their path");
  }
  if (request.idempotency_key.size() > kMaxIdempotencyKey) {
    return failure(ErrorCode::invalid_argument, "an Idempotency-Key has at most 255 characters");
  }
  return std::nullopt;
}

// What a repeated request must have in common with the first one.
std::string digest_of(const AsyncRequest& request) {
  const char format = static_cast<char>(request.arguments.format);
  std::string text = request.app + '\n' + request.function + '\n' + request.variant + '\n';
  if (!request.webhook.empty()) text.append(request.webhook).append("\n");
  text.append(1, format).append(request.arguments.bytes);
  return hex(sha256(text));
}

CallFailure other_request() {
  CallFailure failed = failure(ErrorCode::conflict,
                               "this Idempotency-Key stands for another request; take a new key");
  failed.status = kUnprocessable;
  return failed;
}

Result<std::vector<std::string>> states_named(const std::string& state) {
  if (state == "dead") return std::vector<std::string>{"failed", "timed_out"};
  for (const CallState ended :
       {CallState::succeeded, CallState::failed, CallState::timed_out, CallState::cancelled}) {
    if (state == call_state_name(ended)) return std::vector<std::string>{state};
  }
  return {ErrorCode::invalid_argument,
          "state must be succeeded, failed, timed_out, cancelled or dead, which is failed or "
          "timed_out; without it, waiting and running calls are listed too"};
}

}  // namespace

// A call between its acceptance and its end on disk, and who waits for that.
class DurableCalls::Live final : public CallWaiter {
 public:
  struct Waiting {
    std::uint64_t serial = 0;
    OnOutcome done;
  };

  Live(DurableCalls& owner, CallId id) : owner_(owner), id_(id) {}

  void on_result(Body value, const CallReport& report) override {
    owner_.ended(*this, {.kind = CallOutcome::Kind::value,
                         .state_json = {},
                         .value = std::move(value),
                         .failure = {},
                         .report = report});
  }
  void on_failure(CallFailure failed, const CallReport& report) override {
    owner_.ended(*this, {.kind = CallOutcome::Kind::failure,
                         .state_json = {},
                         .value = {},
                         .failure = std::move(failed),
                         .report = report});
  }

  CallId id() const { return id_; }

  std::size_t size_bytes = 0;            // of its arguments
  std::unique_ptr<WebhookTarget> told;   // of its end; none: nobody
  std::unique_ptr<CallOutcome> outcome;  // once it has ended
  Time ended;
  std::vector<Waiting> waiting;

 private:
  DurableCalls& owner_;
  const CallId id_;
};

DurableCalls::DurableCalls(Parts parts) : parts_(std::move(parts)) {}

DurableCalls::~DurableCalls() = default;

void DurableCalls::restore(std::deque<CallRecord> calls) {
  // One after the other: what a record took is the next call's.
  for (; !calls.empty(); calls.pop_front()) start(std::move(calls.front()));
  forget_old_later();
}

void DurableCalls::leave_waiting() {
  leaving_ = true;
  std::vector<CallId> waiting;
  for (const auto& [id, live] : live_) {
    const Call* call = parts_.calls.table().find(id);
    if (call && !parts_.calls.is_running(id)) waiting.push_back(id);
  }
  for (const CallId id : waiting) {
    parts_.calls.abandon(id);
    const auto left = live_.extract(id);
    held_bytes_ -= left.mapped()->size_bytes;
    for (Live::Waiting& one : left.mapped()->waiting) one.done(going_down());
  }
}

// Why there is no room for one more call with so many bytes; nothing if there is.
std::optional<CallFailure> DurableCalls::full(const Function& function, KeyId caller,
                                              std::size_t bytes) const {
  if (held_bytes_ + bytes > kMostHeldBytes) {
    CallFailure failed =
        failure(ErrorCode::resource_exhausted,
                "the arguments of asynchronous calls that have not ended take all the room there "
                "is for them; try again later, or put them in a volume");
    failed.retry_after_s = kRetryFullSeconds;
    failed.limit = {"async_argument_bytes", static_cast<std::int64_t>(kMostHeldBytes)};
    return failed;
  }
  const auto promised = promised_.find(function.pool);
  const Reason reason = parts_.driver.engine().refusal(
      function.pool, caller, promised == promised_.end() ? 0 : promised->second);
  if (reason.code == ReasonCode::none) return std::nullopt;
  return parts_.calls.refusal(function, reason, kRetryFullSeconds);
}

void DurableCalls::spawn(AsyncRequest request, OnStarted done) {
  if (request.idempotency_key.starts_with(kOwnKeys)) {
    return done(
        Error{ErrorCode::invalid_argument,
              "an Idempotency-Key that begins with \"ember:\" is Ember's own; take another"},
        Acceptance::fresh);
  }
  spawn_beside(std::move(request), {}, std::move(done));
}

void DurableCalls::spawn_beside(AsyncRequest request, Beside beside, OnStarted done) {
  const CallRequest named{request.app, request.function, {}, request.caller, request.variant};
  const auto callable = parts_.calls.find(named);
  if (!callable) return done(parts_.calls.not_found(named, callable.error()), Acceptance::fresh);
  const FunctionPtr function = *callable->function;
  if (gives_items(function->spec, callable->method)) {
    return done(failure(ErrorCode::invalid_argument,
                        function->app_name + "." + callable_name(*function, callable->method) +
                            " is a generator function, and nobody would read the items of an "
                            "asynchronous call: iterate over .remote_gen(...)"),
                Acceptance::fresh);
  }
  if (web_of(function->spec, callable->method)) {
    return done(Calls::takes_requests_alone(*function, callable->method), Acceptance::fresh);
  }
  if (auto wrong = unacceptable(request)) return done(*std::move(wrong), Acceptance::fresh);
  if (!request.webhook.empty()) {
    auto fine = parts_.webhooks.check(request.webhook);
    if (!fine) return done(std::move(fine).error(), Acceptance::fresh);
  }
  if (!request.idempotency_key.empty()) {
    return spawn_once(std::move(request), function, std::move(beside), std::move(done));
  }
  if (auto refused = full(*function, request.caller, request.arguments.bytes.size())) {
    return done(*std::move(refused), Acceptance::fresh);
  }
  accept(record_of(std::move(request), {}), function->pool, beside, std::move(done));
}

std::string_view DurableCalls::live_state(CallId call) const {
  if (!live_.contains(call)) return {};
  return parts_.calls.is_running(call) ? "running" : "waiting";
}

CallRecord DurableCalls::record_of(AsyncRequest request, std::string request_sha256) {
  const Time now = parts_.driver.now();
  const bool limited = request.time_to_live.us > 0;
  return {.id = CallId{parts_.ids.next(now)},
          .workspace = kDefaultWorkspace,
          .caller = request.caller,
          .app = std::move(request.app),
          .function = std::move(request.function),
          .variant = std::move(request.variant),
          .format = request.arguments.format,
          .arguments = std::move(request.arguments.bytes),
          .arrived = now,
          .expires = limited ? now + request.time_to_live : Time::never(),
          .idempotency_key = std::move(request.idempotency_key),
          .request_sha256 = std::move(request_sha256),
          .repeats = {},
          .priority = request.priority,
          .webhook = std::move(request.webhook),
          .parent = request.parent};
}

// One request of a key at a time: the next one finds what the first has made of it.
void DurableCalls::spawn_once(AsyncRequest request, FunctionPtr function, Beside beside,
                              OnStarted done) {
  const std::string key = request.idempotency_key;
  const auto [in_use, is_first] = keys_in_use_.try_emplace(key);
  if (!is_first) {
    in_use->second.push_back([this, request = std::move(request), beside = std::move(beside),
                              done = std::move(done)]() mutable {
      spawn_beside(std::move(request), std::move(beside), std::move(done));
    });
    return;
  }
  OnStarted told = [this, key, done = std::move(done)](StartedCall call, Acceptance acceptance) {
    done(std::move(call), acceptance);
    free_key(key);
  };
  auto looked_up = [this, request = std::move(request), function = std::move(function),
                    beside = std::move(beside),
                    told = std::move(told)](Result<StoredCall> found) mutable {
    const std::string digest = digest_of(request);
    if (found.ok()) {
      if (found->call.request_sha256 != digest) return told(other_request(), Acceptance::repeated);
      return told(found->call.id, Acceptance::repeated);
    }
    if (found.error().code != ErrorCode::not_found) return told(found.error(), Acceptance::fresh);
    if (auto refused = full(*function, request.caller, request.arguments.bytes.size())) {
      return told(*std::move(refused), Acceptance::fresh);
    }
    accept(record_of(std::move(request), digest), function->pool, beside, std::move(told));
  };
  parts_.store.query_call_by_key(kDefaultWorkspace, key,
                                 parts_.background.to_loop(std::move(looked_up)));
}

void DurableCalls::free_key(const std::string& key) {
  auto in_use = keys_in_use_.extract(key);
  for (auto& next : in_use.mapped()) next();
}

void DurableCalls::accept(CallRecord record, PoolId pool, const Beside& beside, OnStarted done) {
  ++promised_[pool];
  ++writing_;
  const std::size_t bytes = record.arguments.size();
  held_bytes_ += bytes;
  Batch batch{record};
  if (auto with = beside ? beside(record.id) : std::nullopt) batch.emplace_back(*std::move(with));
  auto written = [this, record = std::move(record), pool, bytes,
                  done = std::move(done)](Result<> result) mutable {
    --writing_;
    if (--promised_[pool] == 0) promised_.erase(pool);
    held_bytes_ -= bytes;
    if (!result) return done(std::move(result).error(), Acceptance::fresh);
    const CallId id = record.id;
    if (!leaving_) start(std::move(record));
    done(id, Acceptance::fresh);
  };
  parts_.store.apply(std::move(batch), parts_.background.to_loop(std::move(written)));
}

// It has been accepted: whatever keeps it from running is its outcome.
void DurableCalls::start(CallRecord record) {
  auto live = std::make_unique<Live>(*this, record.id);
  Live& waiter = *live;
  waiter.size_bytes = record.arguments.size();
  held_bytes_ += waiter.size_bytes;
  if (!record.webhook.empty()) {
    waiter.told = std::make_unique<WebhookTarget>(
        WebhookTarget{std::move(record.webhook), record.app, record.function});
  }
  live_[record.id] = std::move(live);
  CallRequest request{record.app,
                      record.function,
                      {record.format, std::move(record.arguments)},
                      record.caller,
                      record.variant};
  request.priority = record.priority;
  auto started = parts_.calls.start(std::move(request), &waiter, Origin::outside,
                                    {.id = record.id,
                                     .admission = Admission::granted,
                                     .expires = record.expires,
                                     .arrived = record.arrived,
                                     .parent = record.parent,
                                     .bond = Bond::spawned});
  if (started) return;
  // Not yet: while the server starts it does not know the URL that a webhook is to name.
  parts_.background.later([this, id = record.id, refusal = started.refusal()]() mutable {
    const auto found = live_.find(id);
    if (found == live_.end()) return;
    CallReport report;
    report.call = id;
    found->second->on_failure(std::move(refusal), report);
  });
}

void DurableCalls::ended(Live& call, CallOutcome outcome) {
  call.outcome = std::make_unique<CallOutcome>(std::move(outcome));
  call.ended = parts_.driver.now();
  write_end(call.id());
}

void DurableCalls::write_end(CallId id) {
  const auto found = live_.find(id);
  if (found == live_.end()) return;
  const Live& call = *found->second;
  const FinishedCall* finished = parts_.calls.table().find_finished(id);
  const CallEndRecord record = end_record(id, call.ended, *call.outcome,
                                          finished ? to_json(finished->progress) : JsonValue());
  Batch batch{record};
  if (call.told) batch.emplace_back(parts_.webhooks.record_of(*call.told, record, *call.outcome));
  parts_.store.apply(std::move(batch), parts_.background.to_loop([this, id](Result<> result) {
    end_is_written(id, result);
  }));
}

// A disk that takes no writes now may do so later; until then the outcome stays in memory.
void DurableCalls::end_is_written(CallId id, const Result<>& result) {
  if (!result) {
    spdlog::error("the outcome of {} cannot be written: {}", id.text(), result.error().message);
    return parts_.driver.after(kWriteRetry, [this, id] { write_end(id); });
  }
  forget_old_later();
  const auto live = live_.extract(id);
  if (live.empty()) return;
  held_bytes_ -= live.mapped()->size_bytes;
  if (live.mapped()->told) parts_.webhooks.added();
  for (Live::Waiting& waiting : live.mapped()->waiting) waiting.done(*live.mapped()->outcome);
}

void DurableCalls::outcome(CallId call, Duration patience, OnOutcome done) {
  if (const auto found = live_.find(call); found != live_.end()) {
    const std::uint64_t serial = ++last_serial_;
    found->second->waiting.push_back({serial, std::move(done)});
    if (patience.us <= 0) return give_up_waiting(call, serial);
    return parts_.driver.after(patience, [this, call, serial] { give_up_waiting(call, serial); });
  }
  auto looked_up = [this, call, done = std::move(done)](Result<StoredCall> found) {
    if (found.ok() && found->end) return done(outcome_of(*found));
    if (found.ok() && leaving_) return done(going_down());
    if (found.ok()) {
      CallOutcome pending;
      pending.report.call = call;
      pending.state_json = dump_json(document_of(*found));
      return done(std::move(pending));
    }
    if (found.error().code == ErrorCode::not_found && parts_.calls.knows(call)) {
      return done(
          Error{ErrorCode::conflict,
                "the call " + call.text() + " was not spawned: its result went to its caller"});
    }
    done(std::move(found).error());
  };
  parts_.store.query_call(call, parts_.background.to_loop(std::move(looked_up)));
}

void DurableCalls::give_up_waiting(CallId call, std::uint64_t serial) {
  const auto found = live_.find(call);
  if (found == live_.end()) return;
  auto& waiting = found->second->waiting;
  const auto one = std::ranges::find(waiting, serial, &Live::Waiting::serial);
  if (one == waiting.end()) return;
  const OnOutcome done = std::move(one->done);
  waiting.erase(one);
  CallOutcome pending;
  pending.report.call = call;
  if (auto document = parts_.describe(call)) pending.state_json = std::move(*document);
  done(std::move(pending));
}

void DurableCalls::repeat(CallId call, KeyId caller, OnStarted done) {
  auto looked_up = [this, call, caller, done = std::move(done)](Result<StoredCall> found) mutable {
    if (!found) return done(std::move(found).error(), Acceptance::fresh);
    if (!found->end) {
      return done(Error{ErrorCode::conflict, "the call " + call.text() + " has not ended yet"},
                  Acceptance::fresh);
    }
    const CallRequest named{found->call.app, found->call.function, {}, caller, found->call.variant};
    const auto callable = parts_.calls.find(named);
    if (!callable) return done(parts_.calls.not_found(named, callable.error()), Acceptance::fresh);
    const FunctionPtr function = *callable->function;
    if (auto refused = full(*function, caller, found->call.arguments.size())) {
      return done(*std::move(refused), Acceptance::fresh);
    }
    const PoolId pool = function->pool;
    CallRecord record = std::move(found->call);
    record.id = CallId{parts_.ids.next(parts_.driver.now())};
    record.caller = caller;
    record.arrived = parts_.driver.now();
    record.expires = Time::never();
    record.idempotency_key = record.request_sha256 = {};
    record.repeats = call;
    record.parent = {};
    const CallId to = record.id;
    parts_.hand_on(*function, call, to,
                   [this, pool, record = std::move(record), done = std::move(done)]() mutable {
                     accept(std::move(record), pool, {}, std::move(done));
                   });
  };
  parts_.store.query_call(call, parts_.background.to_loop(std::move(looked_up)));
}

void DurableCalls::list(std::string state, std::string app, std::size_t limit, Done done) {
  auto states = states_named(state);
  if (!states) return done(std::move(states).error());
  auto listed = [done = std::move(done)](Result<std::vector<StoredCall>> found) {
    if (!found) return done(std::move(found).error());
    JsonValue list = JsonValue::array();
    for (const StoredCall& one : *found) list.push_back(entry_of(one));
    done(dump_json({{"calls", std::move(list)}}));
  };
  parts_.store.query_calls({std::move(app), *std::move(states), std::min(limit, kMostListed)},
                           parts_.background.to_loop(std::move(listed)));
}

void DurableCalls::show(CallId call, Done done) {
  parts_.store.query_call(call, parts_.background.to_loop([call, done](Result<StoredCall> found) {
    if (found.ok()) return done(dump_json(document_of(*found)));
    if (found.error().code == ErrorCode::not_found) return done(CallTable::no_such_call(call));
    done(std::move(found).error());
  }));
}

// A server without such calls does nothing.
void DurableCalls::forget_old_later() {
  if (std::exchange(forgetting_, true)) return;
  parts_.driver.after(kForgetEvery, [this] {
    forgetting_ = false;
    const Time before{parts_.driver.now().us - parts_.kept.us};
    parts_.store.apply({ForgottenCalls{before}}, [](const Result<>&) {});
  });
}

}  // namespace ember
