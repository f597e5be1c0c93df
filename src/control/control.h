// The public face of the control plane: what the gateway (and nothing else) calls. All of it runs
// on the loop's thread. Functions that must wait take a callback, called once on the loop's thread,
// possibly before they return.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "base/money.h"
#include "base/result.h"
#include "base/time.h"
#include "control/messages.h"
#include "model/body_format.h"
#include "model/ids.h"
#include "model/priority.h"
#include "model/rollout.h"
#include "model/stream_window.h"

namespace ember {

class AsyncCalls;       // async_calls.h
class ScheduleService;  // schedule_service.h
class SharedService;    // shared_service.h
class VolumeService;    // volume_service.h
class WebService;       // web_service.h
class WebhookService;   // webhook_service.h

struct Body {
  BodyFormat format = BodyFormat::none;
  std::string bytes;
};

// What a finished call tells its caller beside the value.
struct CallReport {
  CallId call;
  ContainerId container;
  std::int64_t queued_us = 0;   // arrival to dispatch, container start included
  std::int64_t execute_us = 0;  // dispatch to result
  std::int64_t total_us = 0;
  bool cold = false;
  std::int64_t boot_ms = 0, load_ms = 0;  // of the start it waited for; zero if warm
  Money cost;                             // its share of the container's execute time
  bool pays_start = false;                // the first to end of those that waited for that start
  Money start_cost;                       // boot and load, if it pays for them
  std::string gpu;                        // "L4 (simulated)", "" for none
  std::uint16_t attempt = 0;
  bool is_stream = false;   // of a generator function: what it gave were items
  std::uint64_t items = 0;  // that were handed out
};

// A limit that has been reached. The name is a literal, empty for none.
struct Limit {
  std::string_view name;
  std::int64_t value = 0;
};

// A failed call. `body` is the runner's error body (see docs/reference/http.md) where user code or
// the runner made one, else empty. Whatever a container sent, it is one JSON object in UTF-8.
struct CallFailure {
  Error error;
  std::string body = {};
  std::int64_t retry_after_s = 0;  // for resource_exhausted and unavailable, where it is known
  Limit limit = {};                // for resource_exhausted, where it has a number
  int status = 0;                  // of HTTP, 400 to 599, that the body asks for; 0: none
  // Told as its code instead of the error's own, for programs that can mend it: kUnknownVariant, or
  // empty.
  std::string_view told_code = {};
};

// The variant was dropped, or was of an earlier version: registering it again makes it.
inline constexpr std::string_view kUnknownVariant = "unknown_variant";

// The id of a call that was started, or why it was not.
class StartedCall {
 public:
  StartedCall(CallId call) : call_(call) {}                              // NOLINT: ids convert
  StartedCall(CallFailure refusal) : refusal_(std::move(refusal)) {}     // NOLINT: refusals convert
  StartedCall(Error error) : refusal_(CallFailure{std::move(error)}) {}  // NOLINT: errors convert

  bool ok() const { return !refusal_; }
  explicit operator bool() const { return ok(); }
  CallId operator*() const {
    EMBER_ASSERT(ok());
    return call_;
  }
  const CallFailure& refusal() const {
    EMBER_ASSERT(!ok());
    return *refusal_;
  }
  const Error& error() const { return refusal().error; }

 private:
  CallId call_;
  std::optional<CallFailure> refusal_;
};

class CallWaiter {
 public:
  virtual ~CallWaiter() = default;
  // An item of a generator function, in order and before the end, which then has no value. No more
  // come than the window allows until accept_items() says that earlier ones have gone on.
  virtual void on_item(Body) {}
  // What the function says of how far it is (call_progress.h). Not after the end.
  virtual void on_progress(std::string_view) {}
  // Exactly one of the two, once, never from inside start_call. The waiter may be destroyed in it.
  virtual void on_result(Body value, const CallReport& report) = 0;
  virtual void on_failure(CallFailure failure, const CallReport& report) = 0;
};

// What a caller can take. A function that gives something else is refused. An exchange is a web
// request's: bytes both ways.
enum class CallWants : std::uint8_t { result, items, either, exchange };

struct CallRequest {
  std::string_view app;
  std::string_view function;
  Body arguments;     // moved away
  KeyId caller = {};  // waiting calls are served fairly between callers; zero: nobody that is known
  std::string_view variant = {};  // of the function; empty: as it is deployed
  CallWants wants = CallWants::result;
  Priority priority = {};
};

struct MapRequest {
  std::string_view app;
  std::string_view function;
  KeyId caller = {};
  std::string_view variant = {};  // of the function; empty: as it is deployed
};

// Where a call is on its way to its first item or result.
enum class CallPhase : std::uint8_t { queued, starting, running };
struct CallStatus {
  CallPhase phase = CallPhase::queued;
  std::int64_t ahead = 0;  // inputs before it, while it waits for a slot
  std::string reason;      // one line for people
  // Until a container that starts for it is usually ready; nothing where nobody can tell.
  std::optional<Duration> left = {};

  friend bool operator==(const CallStatus&, const CallStatus&) = default;
};

struct UploadResult {
  std::string digest;                // of the manifest
  std::vector<std::string> missing;  // digests of files not stored yet
};

class BuildObserver {
 public:
  virtual ~BuildObserver() = default;
  virtual void on_line(std::string_view line) = 0;
  virtual void on_end(const std::string& image_id, Result<> result) = 0;  // once; last
};

// Counts of what a limit has kept out.
struct DroppedLogs {
  std::uint64_t lines = 0, bytes = 0;

  explicit operator bool() const { return lines > 0 || bytes > 0; }
  DroppedLogs& operator+=(DroppedLogs more) {
    lines += more.lines;
    bytes += more.bytes;
    return *this;
  }
};

struct LogLine {
  Time at;
  std::string app, function;
  ContainerId container;
  CallId call;               // zero where no call wrote it
  std::string stream;        // "stdout", "stderr" or "system"
  std::string text;          // without the final line break; any bytes
  DroppedLogs dropped = {};  // what was dropped here, where that is what the line says
};

struct LogQuery {
  std::string app;       // required
  std::string function;  // empty: all
  std::optional<ContainerId> container;
  std::optional<CallId> call;
  std::size_t last = 100;      // lines before following
  Time since;                  // not before then
  Time until = Time::never();  // not after then
  std::string search;          // in the text, whatever the case; empty: all
};

class LogFollower {
 public:
  virtual ~LogFollower() = default;
  virtual void on_line(const LogLine& line) = 0;
};

class Control {
 public:
  virtual ~Control() = default;

  // --- keys ---
  // The key with this text, if it is known, not expired and not revoked. Found by its digest.
  virtual Result<KeyId> authenticate(std::string_view key_text) = 0;
  // Counts changes of keys: what a key was before one has to be asked again after it.
  virtual std::uint64_t key_changes() const = 0;

  virtual std::string keys_json() = 0;
  virtual void create_key(std::string request_json,
                          std::function<void(Result<std::string>)> done) = 0;
  virtual void revoke_key(std::string id_or_name,
                          std::function<void(Result<std::string>)> done) = 0;

  // --- secrets; no document has a value ---
  virtual std::string secrets_json() = 0;
  virtual Result<std::string> secret_json(std::string_view id_or_name) = 0;
  virtual void create_secret(std::string request_json,
                             std::function<void(Result<std::string>)> done) = 0;
  // `force`: also one that deployed functions use.
  virtual void delete_secret(std::string id_or_name, bool force,
                             std::function<void(Result<std::string>)> done) = 0;

  // --- calls ---
  // Starts a call. On success the waiter is borrowed until it is answered or the call abandoned.
  virtual StartedCall start_call(CallRequest request, CallWaiter* waiter) = 0;
  // The waiter has gone: cancel the call, answer nobody.
  virtual void abandon_call(CallId call) = 0;
  virtual Result<> cancel_call(CallId call) = 0;
  // So much of what on_item() was given has gone on to who reads it. Calls that have ended are
  // ignored.
  virtual void accept_items(CallId call, StreamCredit gone) = 0;
  // Of a call that lives.
  virtual CallStatus call_status(CallId call) = 0;
  virtual AsyncCalls& async_calls() = 0;
  virtual ScheduleService& schedules() = 0;
  virtual WebService& web() = 0;
  virtual WebhookService& webhooks() = 0;
  // A session of many calls of one function, for a client that is borrowed while it lives.
  virtual Result<std::unique_ptr<MessageSession>> open_map(const MapRequest& request,
                                                           MessageClient& client) = 0;

  // --- deploying; bodies are JSON documents of docs/reference/http.md ---
  using Done = std::function<void(Result<std::string>)>;  // with a document
  virtual void register_source(std::string manifest_json,
                               std::function<void(Result<UploadResult>)> done) = 0;
  virtual void put_blob(std::string sha256, std::string bytes,
                        std::function<void(Result<>)> done) = 0;
  virtual void build_image(std::string spec_json, std::shared_ptr<BuildObserver> observer) = 0;
  virtual void images_json(Done done) = 0;
  virtual void image_log_json(std::string image, Done done) = 0;
  virtual void prune_images(std::string request_json, Done done) = 0;
  virtual void push_image(std::string image, std::string request_json,
                          std::shared_ptr<BuildObserver> observer) = 0;
  virtual void deploy(std::string app, std::string request_json, Done done) = 0;
  virtual void rollback(std::string app, std::uint32_t version, Rollout rollout, Done done) = 0;
  virtual void stop_app(std::string app, Done done) = 0;
  virtual Result<> heartbeat(std::string_view app) = 0;  // keeps an ephemeral app alive
  // A pool of the function's own code with other parameters or options; known as the same from then
  // on.
  virtual void make_variant(std::string app, std::string function, std::string request_json,
                            Done done) = 0;
  // How many containers its pool, or that of a variant of it, may and must have: the fields that
  // are given, until the next version. Answers with all that hold.
  virtual void change_scaling(std::string app, std::string function, std::string variant,
                              std::string request_json, Done done) = 0;
  virtual Result<std::string> pool_stats_json(std::string_view app, std::string_view function,
                                              std::string_view variant) = 0;

  // --- leases of devices to people ---
  // Answered once it is granted or refused. Whoever lets go of what is returned before that does
  // not want it any more.
  virtual std::shared_ptr<void> ask_lease(KeyId key, std::string request_json, Done done) = 0;
  virtual Result<std::string> end_lease(std::string_view lease) = 0;
  virtual std::string leases_json() = 0;

  // --- looking; each a JSON document of docs/reference/http.md ---
  virtual std::string status_json() = 0;
  virtual std::string apps_json() = 0;
  virtual Result<std::string> app_json(std::string_view app) = 0;
  virtual void history_json(std::string app, Done done) = 0;
  virtual std::string containers_json() = 0;
  virtual std::string nodes_json() = 0;
  virtual std::string calls_json(std::string_view app, std::size_t limit) = 0;
  virtual Result<std::string> call_json(CallId call) = 0;
  virtual void cost_json(std::string by, std::string app, Time from, Time until, Done done) = 0;
  virtual std::string prices_json() = 0;
  // What the call costs here and would cost at each provider of the book that has such a GPU.
  virtual Result<std::string> call_cost_json(CallId call) = 0;

  virtual VolumeService& volumes() = 0;
  virtual SharedService& shared() = 0;

  // --- in containers ---
  // A session of a command in the container, for a client that is borrowed while it lives.
  virtual Result<std::unique_ptr<MessageSession>> open_exec(ContainerId container,
                                                            MessageClient& client) = 0;
  virtual void container_processes_json(ContainerId container, Done done) = 0;
  virtual void container_stacks_json(ContainerId container, Done done) = 0;
  enum class ContainerStop : std::uint8_t { when_empty, now };
  virtual Result<std::string> stop_container(ContainerId container, ContainerStop how) = 0;
  // An ephemeral app with a function that is like this one, but runs no code of its user's, and has
  // one container.
  virtual void open_shell(std::string app, std::string function, Done done) = 0;
  // The name of the app that it is or was of.
  virtual void app_of_container(ContainerId container, Done done) = 0;

  // --- logs ---
  // The newest lines up to now, oldest first. Those that come later follow_logs() tells, if it was
  // called in the same turn of the loop.
  virtual void logs(const LogQuery& query,
                    std::function<void(Result<std::vector<LogLine>>)> done) = 0;
  // Lines from now on, until the returned handle is destroyed.
  virtual Result<std::shared_ptr<void>> follow_logs(const LogQuery& query,
                                                    std::shared_ptr<LogFollower> follower) = 0;

  // --- for /metrics: counts as of now, plain numbers ---
  struct FunctionMetrics {
    std::string app, function;
    std::uint64_t succeeded = 0, errors = 0, timeouts = 0, cold_starts = 0;
    std::uint32_t waiting = 0, running = 0;
    std::uint32_t starting = 0, idle = 0, busy = 0;
    std::int64_t queue_oldest_us = 0;
    std::uint64_t gpu_ms_busy = 0, gpu_ms_cold = 0, gpu_ms_idle = 0;
    std::int64_t cost_nano_usd = 0;
    std::vector<std::uint64_t> invoke_buckets;  // counts for kInvokeBucketsMs, then over
    std::vector<std::uint64_t> init_buckets;    // counts for kInitBucketsMs, then over
    std::int64_t invoke_sum_us = 0, init_sum_us = 0;
    DroppedLogs logs_dropped;
  };
  virtual std::vector<FunctionMetrics> metrics() = 0;
};

inline constexpr std::int64_t kInvokeBucketsMs[] = {1,   2,   5,    10,   25,   50,    100,
                                                    250, 500, 1000, 2500, 5000, 10000, 60000};
inline constexpr std::int64_t kInitBucketsMs[] = {50,    100,   250,   500,   1000,   2000,  5000,
                                                  10000, 20000, 40000, 80000, 160000, 320000};

}  // namespace ember
