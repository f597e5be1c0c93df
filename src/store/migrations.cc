#include "store/migrations.h"

#include <array>
#include <string>

namespace ember {
namespace {

// Ids are 64-bit values stored as SQLite's signed integers; times are microseconds since the epoch.
// A ledger row of egress has bytes for its quantity, and its price is for 10^9 of them.
constexpr const char* kTables = R"sql(
CREATE TABLE writer (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  epoch INTEGER NOT NULL
);
INSERT INTO writer VALUES (1, 0);

CREATE TABLE keys (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  sha256 TEXT NOT NULL UNIQUE,
  created_us INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  revoked INTEGER NOT NULL
);

CREATE TABLE apps (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  ephemeral INTEGER NOT NULL,
  stopped INTEGER NOT NULL,
  version INTEGER NOT NULL,
  updated_us INTEGER NOT NULL
);

CREATE TABLE versions (
  app INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  source TEXT NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (app, version)
) WITHOUT ROWID;

CREATE TABLE functions (
  app INTEGER NOT NULL,
  version INTEGER NOT NULL,
  position INTEGER NOT NULL,
  id INTEGER NOT NULL,
  pool INTEGER NOT NULL,
  name TEXT NOT NULL,
  spec_json TEXT NOT NULL,
  PRIMARY KEY (app, version, position)
) WITHOUT ROWID;

CREATE TABLE containers (
  id INTEGER PRIMARY KEY,
  pool INTEGER NOT NULL,
  app INTEGER NOT NULL,
  function TEXT NOT NULL,
  started_us INTEGER NOT NULL,
  ended_us INTEGER NOT NULL,
  exit TEXT NOT NULL
);

CREATE TABLE ledger (
  container INTEGER NOT NULL,
  window_start_us INTEGER NOT NULL,
  meter TEXT NOT NULL,
  phase TEXT NOT NULL,
  window_end_us INTEGER NOT NULL,
  pool INTEGER NOT NULL,
  quantity_ms INTEGER NOT NULL,
  units INTEGER NOT NULL,
  gpu_type TEXT NOT NULL,
  app INTEGER NOT NULL,
  app_name TEXT NOT NULL,
  function TEXT NOT NULL,
  tag TEXT NOT NULL,
  price_nano_usd_per_hour INTEGER NOT NULL,
  price_source TEXT NOT NULL,
  amount_nano_usd INTEGER NOT NULL,
  simulated INTEGER NOT NULL,
  PRIMARY KEY (container, window_start_us, meter, phase)
) WITHOUT ROWID;
)sql";

// Bills are asked for by time; the start of the server asks for containers without an end.
constexpr const char* kIndexes = R"sql(
CREATE INDEX ledger_by_time ON ledger (window_start_us);
CREATE INDEX containers_alive ON containers (id) WHERE ended_us = 0;
)sql";

// It was never milliseconds alone.
constexpr const char* kQuantity = R"sql(
ALTER TABLE ledger RENAME COLUMN quantity_ms TO quantity;
)sql";

// Keys belong to a workspace; all that there are belong to the first.
constexpr const char* kWorkspaces = R"sql(
CREATE TABLE workspaces (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);
INSERT INTO workspaces VALUES (1, 'default');
ALTER TABLE keys ADD COLUMN workspace INTEGER NOT NULL DEFAULT 1;
)sql";

// When a key was revoked, and not only that it was; of those there are it is not known, but now at
// the latest.
constexpr const char* kRevokedAt = R"sql(
ALTER TABLE keys RENAME COLUMN revoked TO revoked_us;
UPDATE keys SET revoked_us = CAST(strftime('%s', 'now') AS INTEGER) * 1000000 WHERE revoked_us != 0;
)sql";

// Values lie here sealed alone, as base 64; keys are names, a line each.
constexpr const char* kSecrets = R"sql(
CREATE TABLE secrets (
  id INTEGER NOT NULL,
  version INTEGER NOT NULL,
  workspace INTEGER NOT NULL,
  name TEXT NOT NULL,
  app INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  keys TEXT NOT NULL,
  sealed TEXT NOT NULL,
  PRIMARY KEY (id, version)
) WITHOUT ROWID;
CREATE UNIQUE INDEX secrets_by_name ON secrets (workspace, name, version) WHERE name <> '';
)sql";

// Rows of a share say how much of the device's memory it is. A lease's rows have its id for their
// container, and say so; its devices are their ids in decimal, parted by commas.
constexpr const char* kSharesAndLeases = R"sql(
ALTER TABLE ledger ADD COLUMN share_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN device_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN of_lease INTEGER NOT NULL DEFAULT 0;
CREATE TABLE leases (
  id INTEGER PRIMARY KEY,
  key INTEGER NOT NULL,
  holder TEXT NOT NULL,
  node INTEGER NOT NULL,
  devices TEXT NOT NULL,
  gpu_type TEXT NOT NULL,
  from_us INTEGER NOT NULL,
  until_us INTEGER NOT NULL,
  ended_us INTEGER NOT NULL
);
)sql";

constexpr const char* kVolumes = R"sql(
CREATE TABLE volumes (
  id INTEGER PRIMARY KEY,
  workspace INTEGER NOT NULL,
  name TEXT NOT NULL,
  ephemeral INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  deleted_us INTEGER NOT NULL,
  billed_us INTEGER NOT NULL
);
CREATE UNIQUE INDEX volumes_by_name ON volumes (workspace, name) WHERE deleted_us = 0;
CREATE TABLE volume_versions (
  volume INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  message TEXT NOT NULL,
  container INTEGER NOT NULL,
  layers TEXT NOT NULL,
  files INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (volume, version)
) WITHOUT ROWID;
)sql";

// Functions of a version with other parameters or options, as JSON.
constexpr const char* kVariants = R"sql(
CREATE TABLE variants (
  id INTEGER PRIMARY KEY,
  app INTEGER NOT NULL,
  version INTEGER NOT NULL,
  function TEXT NOT NULL,
  line INTEGER NOT NULL,
  pool INTEGER NOT NULL,
  parameters_json TEXT NOT NULL,
  options_json TEXT NOT NULL,
  created_us INTEGER NOT NULL
);
CREATE INDEX variants_by_version ON variants (app, version);
)sql";

// A call without an end has ended_us 0, and runs again after a restart.
constexpr const char* kCalls = R"sql(
CREATE TABLE calls (
  id INTEGER PRIMARY KEY,
  workspace INTEGER NOT NULL,
  caller INTEGER NOT NULL,
  app TEXT NOT NULL,
  function TEXT NOT NULL,
  variant TEXT NOT NULL,
  format INTEGER NOT NULL,
  arguments BLOB NOT NULL,
  arrived_us INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  idempotency_key TEXT NOT NULL,
  request_sha256 TEXT NOT NULL,
  repeats INTEGER NOT NULL,
  ended_us INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT '',
  result_format INTEGER NOT NULL DEFAULT 0,
  result BLOB NOT NULL DEFAULT x'',
  report_json TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX calls_by_key ON calls (workspace, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX calls_open ON calls (id) WHERE ended_us = 0;
CREATE INDEX calls_ended ON calls (ended_us) WHERE ended_us <> 0;
CREATE INDEX calls_failed ON calls (id) WHERE state IN ('failed', 'timed_out');
)sql";

constexpr const char* kSchedules = R"sql(
CREATE TABLE schedules (
  app INTEGER NOT NULL,
  function TEXT NOT NULL,
  text TEXT NOT NULL,
  anchor_us INTEGER NOT NULL,
  handled_us INTEGER NOT NULL,
  paused INTEGER NOT NULL,
  last_tick_us INTEGER NOT NULL,
  last_call INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  missed INTEGER NOT NULL,
  PRIMARY KEY (app, function)
) WITHOUT ROWID;
)sql";

constexpr const char* kScaling = R"sql(
CREATE TABLE scaling (
  pool INTEGER PRIMARY KEY,
  app INTEGER NOT NULL,
  scaling_json TEXT NOT NULL
);
CREATE INDEX scaling_by_app ON scaling (app);
)sql";

// A webhook has its call's id. Of its tries scheduled_from were made before its schedule last
// began.
constexpr const char* kWebhooks = R"sql(
ALTER TABLE calls ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN webhook TEXT NOT NULL DEFAULT '';
CREATE TABLE webhooks (
  id INTEGER PRIMARY KEY,
  workspace INTEGER NOT NULL,
  url TEXT NOT NULL,
  origin TEXT NOT NULL,
  type TEXT NOT NULL,
  body TEXT NOT NULL,
  created_us INTEGER NOT NULL,
  state TEXT NOT NULL,
  tries INTEGER NOT NULL,
  scheduled_from INTEGER NOT NULL,
  next_us INTEGER NOT NULL,
  last_try_us INTEGER NOT NULL,
  status INTEGER NOT NULL,
  outcome TEXT NOT NULL
);
CREATE INDEX webhooks_waiting ON webhooks (next_us, id, origin) WHERE state = 'waiting';
CREATE INDEX webhooks_dead ON webhooks (id) WHERE state = 'dead';
CREATE INDEX webhooks_over ON webhooks (created_us) WHERE state <> 'waiting';
CREATE TABLE webhook_secrets (
  workspace INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  until_us INTEGER NOT NULL,
  sealed TEXT NOT NULL,
  PRIMARY KEY (workspace, version)
) WITHOUT ROWID;
)sql";

// What lies in a dictionary or a partition of a queue lies on a shelf of its own. One that is
// cleared is disowned at once, and emptied by and by.
constexpr const char* kShared = R"sql(
CREATE TABLE shared (
  id INTEGER PRIMARY KEY,
  workspace INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  name TEXT NOT NULL,
  ephemeral INTEGER NOT NULL,
  created_us INTEGER NOT NULL
);
CREATE UNIQUE INDEX shared_by_name ON shared (workspace, kind, name);
CREATE TABLE shelves (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  owner INTEGER NOT NULL,
  part TEXT NOT NULL,
  entries INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  expires_us INTEGER NOT NULL
);
CREATE UNIQUE INDEX shelves_by_owner ON shelves (owner, part) WHERE owner <> 0;
CREATE INDEX shelves_to_empty ON shelves (id) WHERE owner = 0;
CREATE INDEX shelves_by_end ON shelves (expires_us) WHERE owner <> 0;
CREATE TABLE dict_entries (
  shelf INTEGER NOT NULL,
  key TEXT NOT NULL,
  format INTEGER NOT NULL,
  value BLOB NOT NULL
);
CREATE UNIQUE INDEX dict_entries_by_key ON dict_entries (shelf, key);
CREATE TABLE queue_items (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  shelf INTEGER NOT NULL,
  format INTEGER NOT NULL,
  value BLOB NOT NULL
);
CREATE INDEX queue_items_by_shelf ON queue_items (shelf, sequence);
)sql";

constexpr const char* kCallParents = R"sql(
ALTER TABLE calls ADD COLUMN parent INTEGER NOT NULL DEFAULT 0;
CREATE INDEX calls_by_parent ON calls (parent, id) WHERE parent <> 0;
)sql";

constexpr const char* kRollouts = R"sql(
ALTER TABLE apps ADD COLUMN newest INTEGER NOT NULL DEFAULT 0;
UPDATE apps SET newest = version;
ALTER TABLE versions ADD COLUMN withdrawn TEXT NOT NULL DEFAULT '';
)sql";

constexpr std::array kSteps{kTables,    kIndexes, kQuantity,        kWorkspaces,
                            kRevokedAt, kSecrets, kSharesAndLeases, kVolumes,
                            kVariants,  kCalls,   kSchedules,       kScaling,
                            kWebhooks,  kShared,  kCallParents,     kRollouts};

Result<std::int64_t> schema_of(Database& database) {
  auto query = database.prepare("PRAGMA user_version");
  if (!query) return std::move(query).error();
  std::int64_t version = 0;
  auto read = query->each([&](Statement& row) { version = row.integer(0); });
  if (!read) return std::move(read).error();
  if (version < 0) {
    return {ErrorCode::storage_failed, "the state is damaged: schema " + std::to_string(version) +
                                           "; put a copy in its place"};
  }
  return version;
}

}  // namespace

std::int64_t newest_schema() { return kSteps.size(); }

Result<> migrate(Database& database, std::int64_t target) {
  const auto found = schema_of(database);
  if (!found) return found.error();
  if (*found > target) {
    return {ErrorCode::conflict, "the state was written by a newer Ember (schema " +
                                     std::to_string(*found) + ", this one knows " +
                                     std::to_string(target) + "); use that version or newer"};
  }
  for (std::int64_t step = *found; step < target; ++step) {
    const std::string number = std::to_string(step + 1);
    auto done =
        database.execute("BEGIN IMMEDIATE;" + std::string(kSteps[static_cast<size_t>(step)]) +
                         "PRAGMA user_version = " + number + "; COMMIT;");
    if (!done) {
      database.roll_back();
      return std::move(done).error().within("migration " + number);
    }
  }
  return Ok{};
}

}  // namespace ember
