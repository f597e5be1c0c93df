// Durable state. SQL never shows outside this folder; PostgreSQL will be a second implementation.
//
// Writes go in as atomic batches and are answered when they are on disk; batches that wait together
// share one commit (group commit). Every write carries what identifies it, so that applying a batch
// twice changes nothing. Reads at start come whole; later reads are queries that run on the store's
// own thread and answer by callback on that thread (the caller posts to its loop).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/money.h"
#include "base/result.h"
#include "base/time.h"
#include "model/body_format.h"
#include "model/ids.h"
#include "model/priority.h"
#include "model/secret.h"
#include "model/usage.h"
#include "model/variant.h"
#include "model/volume.h"
#include "model/webhook.h"
#include "model/workspace.h"
#include "store/shared_store.h"

namespace ember {

struct KeyRecord {
  KeyId id;
  WorkspaceId workspace;  // that owns it
  std::string name;
  std::string sha256;  // of the whole key text, hex; the text itself is never stored
  Time created;
  Time expires;  // Time::never() for none
  Time revoked;  // zero while it is not
};

// Nothing is kept of the key.
struct ForgottenKey {
  KeyId id;
};

struct AppRecord {
  AppId id;
  std::string name;
  bool ephemeral = false;
  bool stopped = false;
  std::uint32_t version = 0;  // the current one
  Time updated;
  // The one made last; later than the current one while it is rolled out, or if it was withdrawn.
  std::uint32_t newest = 0;
};

struct FunctionRecord {
  FunctionId id;
  PoolId pool;
  std::string name;
  std::string spec_json;  // as deployed, validated and complete with defaults
};

// One version of an app. Never changed after it is written, but that it may be withdrawn.
struct VersionRecord {
  AppId app;
  std::uint32_t version = 0;
  Time created;
  std::string source;   // digest of the source manifest
  std::string message;  // who or what made it: "deploy", "rollback to 3"
  std::vector<FunctionRecord> functions;
  std::string withdrawn = {};  // why it never came to serve; empty: it did, or is to
};

struct WithdrawnVersion {
  AppId app;
  std::uint32_t version = 0;
  std::string why;
};

// A function of a version with other parameters or options, which has a pool of its own. Never
// changed after it is written.
struct VariantRecord {
  VariantId id;
  AppId app;
  std::uint32_t version = 0;
  std::string function;
  FunctionId line;  // the same over all versions
  PoolId pool;
  std::string parameters_json, options_json;  // validated
  Time created;
};

struct ForgottenVariant {
  VariantId id;
};

// What a pool of a current version is scaled by in place of what its version says.
struct ScalingRecord {
  PoolId pool;
  AppId app;
  std::string scaling_json;  // validated
};

// With a new version, all of an app.
struct ForgottenScaling {
  AppId app;
};

struct ContainerRecord {
  ContainerId id;
  PoolId pool;
  AppId app;
  std::string function;
  Time started;
  Time ended;        // zero while it lives
  std::string exit;  // why it ended, one line
};

// Devices that a person has, or had.
struct LeaseRecord {
  LeaseId id;
  KeyId key;           // that asked for it
  std::string holder;  // the key's name
  NodeId node;
  std::vector<DeviceId> devices;
  std::string gpu_type;
  Time from, until;
  Time ended;  // zero while it lasts
};

// A priced usage row. The id is derived from what it bills (container or lease, window start,
// meter, phase), so that a row applied twice is billed once.
struct LedgerRecord {
  UsageRow row;
  AppId app;
  std::string app_name;
  std::string function;
  PricePerHour price;  // that applied, per unit of the meter
  std::string price_source;
  Money amount;
  bool simulated = false;  // the GPU is a simulated one
};

// Versions of a secret on record; of more the oldest go.
inline constexpr std::uint32_t kMostSecretVersions = 100;

// One version of a secret. Only the newest one has its values; writing the next erases them.
struct SecretRecord {
  SecretId id;
  std::uint32_t version = 0;
  WorkspaceId workspace;
  std::string name;  // empty: an anonymous one, of the versions of an app
  AppId app;         // of an anonymous one
  Time created;
  std::vector<std::string> keys;
  std::string sealed;  // the values, as text
};

// All its versions.
struct ForgottenSecret {
  SecretId id;
};

struct VolumeRecord {
  VolumeId id;
  WorkspaceId workspace;
  std::string name;
  bool ephemeral = false;
  Time created;
  Time deleted;  // zero while it is there; its name is free again then
  Time billed;   // what it stores is in the ledger until then
};

// One version of a volume. Its files never change; the layers that hold them may become fewer.
struct VolumeVersionRecord {
  VolumeId volume;
  std::uint32_t version = 0;
  Time created;
  std::string message;    // who or what made it: "put", "commit by ct-..."
  ContainerId container;  // that committed it, if one did
  std::string layers;     // names, the lowest first, one space between
  std::int64_t files = 0, bytes = 0;
};

struct ForgottenVolumeVersion {
  VolumeId volume;
  std::uint32_t version = 0;
};

// A call that runs whoever waits for it. It is written before it is accepted.
struct CallRecord {
  CallId id;
  WorkspaceId workspace;
  KeyId caller;
  std::string app, function;
  std::string variant;  // of the function; empty: as it is deployed
  BodyFormat format = BodyFormat::none;
  std::string arguments;
  Time arrived;
  Time expires = Time::never();  // if it has not started by then
  std::string idempotency_key;   // of its workspace; empty: none
  std::string request_sha256;    // of what was asked for under that key
  CallId repeats;                // an ended one, run again; zero: none
  Priority priority = {};
  std::string webhook = {};  // URL that is told of its end; empty: none
  CallId parent = {};        // that made it, from a container; zero: none
};

// How it ended. The first such record of a call holds.
struct CallEndRecord {
  CallId id;
  Time ended;
  std::string state;  // "succeeded", "failed", "timed_out" or "cancelled"
  BodyFormat format = BodyFormat::none;
  std::string body;  // the value, or the error as a JSON object
  std::string report_json;
};

// Those that ended before then, some at a time, and webhooks that were delivered or given up and
// are as old.
struct ForgottenCalls {
  Time ended_before;
};

// What a webhook is to tell of a call's end, in the batch that writes that. Never changed after it
// is written; the first such record of a call holds.
struct WebhookRecord {
  WebhookId id;
  WorkspaceId workspace;
  std::string url;
  std::string origin;  // of the URL: all that share it are one receiver
  std::string type;    // "call.succeeded"
  std::string body;
  Time created;
};

// How far that has come. Of two such records the one after more tries holds.
struct WebhookProgress {
  WebhookId id;
  WebhookState state = WebhookState::waiting;
  std::uint32_t tries = 0;           // all of them
  std::uint32_t scheduled_from = 0;  // so many were made before its schedule began, or began anew
  Time next;                         // waiting: when it is tried
  Time last_try;                     // zero: none yet
  int status = 0;                    // that was answered to it; 0: nothing
  std::string outcome = {};          // one line for people
};

// A version of the key that a workspace's webhooks are signed with. There are the newest one and
// the one before it.
struct WebhookSecretRecord {
  WorkspaceId workspace;
  std::uint32_t version = 0;
  Time created;
  Time until = Time::never();  // signs until then
  std::string sealed;
};

// How far the schedule of a function has come. There is one while a deployed app's function has it.
struct ScheduleRecord {
  AppId app;
  std::string function;
  std::string text;  // what it is; another one begins anew
  Time anchor;       // of its first deploy: what a period counts from
  Time handled;      // no tick until then is still to be run
  bool paused = false;
  Time last_tick;            // that was run; zero: none
  CallId last_call;          // of that tick
  std::int64_t skipped = 0;  // ticks, while the call before them still lived
  std::int64_t missed = 0;   // ticks, while no server was there
};

struct ForgottenSchedule {
  AppId app;
  std::string function;
};

using Write = std::variant<KeyRecord, ForgottenKey, AppRecord, VersionRecord, VariantRecord,
                           ForgottenVariant, ContainerRecord, LeaseRecord, LedgerRecord,
                           SecretRecord, ForgottenSecret, VolumeRecord, VolumeVersionRecord,
                           ForgottenVolumeVersion, CallRecord, CallEndRecord, ForgottenCalls,
                           ScheduleRecord, ForgottenSchedule, ScalingRecord, ForgottenScaling,
                           WebhookRecord, WebhookProgress, WebhookSecretRecord, WithdrawnVersion>;
using Batch = std::vector<Write>;

// How far the ledger goes for a container.
struct BilledSoFar {
  ContainerId container;
  Time until;
  std::int64_t egress_bytes = 0;
};

struct LeaseBilledSoFar {
  LeaseId lease;
  Time until;
};

struct Snapshot {
  std::uint32_t epoch = 0;  // of this writer: one more than the last one's, already on disk
  std::vector<KeyRecord> keys;
  std::vector<AppRecord> apps;
  std::vector<VersionRecord> versions;      // all of apps that are not stopped, newest last
  std::vector<VariantRecord> variants;      // of current versions, and of those containers; by id
  std::vector<ContainerRecord> containers;  // those without an end
  std::vector<BilledSoFar> billed;          // for those that are in the ledger
  std::vector<SecretRecord> secrets;        // by id, then version
  std::vector<LeaseRecord> leases;          // those without an end
  std::vector<LeaseBilledSoFar> leases_billed;
  std::vector<VolumeRecord> volumes;                 // that are not deleted
  std::vector<VolumeVersionRecord> volume_versions;  // of these, oldest first
  std::deque<CallRecord> calls;                      // without an end, oldest first
  std::vector<ScheduleRecord> schedules;             // by app, then function
  std::vector<ScalingRecord> scalings;               // by pool
  std::vector<WebhookSecretRecord> webhook_secrets;  // by workspace, then version
  std::int64_t webhooks_waiting = 0;
  std::vector<SharedRecord> shared;  // by id
};

struct StoredCall {
  CallRecord call;
  std::optional<CallEndRecord> end;
};

struct CallQuery {
  std::string app;                  // only this one; empty: all
  std::vector<std::string> states;  // of their end
  std::size_t limit = 100;          // the newest
};

struct StoredWebhook {
  WebhookRecord webhook;
  WebhookProgress progress;
};

// Those that wait, by when they are to be tried.
struct WaitingWebhooks {
  std::vector<std::string> without_origins;  // at most kMostOriginsLeftOut
  std::size_t limit = 1;
};
inline constexpr std::size_t kMostOriginsLeftOut = 8;

struct WebhookQuery {
  std::optional<WebhookState> state;
  std::size_t limit = 100;  // the newest
};

enum class CostGroup : std::uint8_t { app, function, day, phase, meter };

struct CostQuery {
  std::vector<CostGroup> by;  // in this order
  std::string app;            // only this one; empty: all
  Time from, until;           // window_start within [from, until)
};

struct CostRow {
  std::vector<std::string> keys;  // one for each group asked for
  Money amount;
  std::int64_t gpu_ms = 0, cpu_millicore_ms = 0, memory_mib_ms = 0, egress_bytes = 0;
  std::int64_t disk_mib_ms = 0;
  bool simulated = false;
};

class Store {
 public:
  virtual ~Store() = default;  // finishes what was applied
  // `done` runs on the store's thread once the batch is durable, or with why it never will be.
  virtual void apply(Batch batch, std::function<void(Result<>)> done) = 0;
  virtual void query_cost(CostQuery query,
                          std::function<void(Result<std::vector<CostRow>>)> done) = 0;
  virtual void query_versions(AppId app,
                              std::function<void(Result<std::vector<VersionRecord>>)> done) = 0;
  virtual void query_version(AppId app, std::uint32_t version,
                             std::function<void(Result<VersionRecord>)> done) = 0;
  // not_found for one that was never written, or is forgotten.
  virtual void query_call(CallId call, std::function<void(Result<StoredCall>)> done) = 0;
  virtual void query_call_by_key(WorkspaceId workspace, std::string idempotency_key,
                                 std::function<void(Result<StoredCall>)> done) = 0;
  // Newest first, without arguments and values.
  virtual void query_calls(CallQuery query,
                           std::function<void(Result<std::vector<StoredCall>>)> done) = 0;
  virtual void query_waiting_webhooks(
      WaitingWebhooks query, std::function<void(Result<std::vector<StoredWebhook>>)> done) = 0;
  // Newest first, without bodies.
  virtual void query_webhooks(WebhookQuery query,
                              std::function<void(Result<std::vector<StoredWebhook>>)> done) = 0;
  // not_found for one that was never written, or is forgotten.
  virtual void query_webhook(WebhookId webhook,
                             std::function<void(Result<StoredWebhook>)> done) = 0;
  // Those that these have made, oldest first, without arguments and values.
  virtual void query_children(std::vector<CallId> parents, std::size_t limit,
                              std::function<void(Result<std::vector<StoredCall>>)> done) = 0;
  // not_found for one that was never written.
  virtual void query_container(ContainerId container,
                               std::function<void(Result<ContainerRecord>)> done) = 0;
  // Dictionaries and queues.
  virtual SharedStore& shared() = 0;
};

// Opens or makes `directory`/state.db, migrates it, takes the writer's lock (conflict if another
// server holds it, with its process id) and reads the snapshot.
Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& directory, Snapshot& snapshot);

}  // namespace ember
