#include "store/reads.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "store/shared_reads.h"
#include "store/webhook_rows.h"

namespace ember {
namespace {

// Ids are unsigned and stored signed; the cast gives back the same bits.
template <class IdType>
IdType id_at(const Statement& row, int column) {
  return IdType{static_cast<std::uint64_t>(row.integer(column))};
}

Time time_at(const Statement& row, int column) { return Time{row.integer(column)}; }

std::uint32_t version_at(const Statement& row, int column) {
  return static_cast<std::uint32_t>(row.integer(column));
}

template <class OnRow, class... Values>
Result<> for_each(Database& database, std::string_view sql, OnRow&& on_row,
                  const Values&... values) {
  auto query = database.prepare(sql);
  if (!query) return std::move(query).error();
  return query->each(std::forward<OnRow>(on_row), values...);
}

KeyRecord key_of(const Statement& row) {
  return {id_at<KeyId>(row, 0), id_at<WorkspaceId>(row, 1),
          row.text(2),          row.text(3),
          time_at(row, 4),      time_at(row, 5),
          time_at(row, 6)};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

SecretRecord secret_of(const Statement& row) {
  return {id_at<SecretId>(row, 0), version_at(row, 1), id_at<WorkspaceId>(row, 2), row.text(3),
          id_at<AppId>(row, 4),    time_at(row, 5),    lines_of(row.text(6)),      row.text(7)};
}

AppRecord app_of(const Statement& row) {
  return {id_at<AppId>(row, 0), row.text(1),     row.integer(2) != 0, row.integer(3) != 0,
          version_at(row, 4),   time_at(row, 5), version_at(row, 6)};
}

// Versions and their functions side by side, ordered by app, version and position.
Result<std::vector<VersionRecord>> collect_versions(Statement& query, std::int64_t app,
                                                    std::int64_t version) {
  std::vector<VersionRecord> versions;
  auto read = query.each(
      [&](Statement& row) {
        const auto id = id_at<AppId>(row, 0);
        const std::uint32_t number = version_at(row, 1);
        if (versions.empty() || versions.back().app != id || versions.back().version != number) {
          versions.push_back(
              {id, number, time_at(row, 2), row.text(3), row.text(4), {}, row.text(9)});
        }
        if (row.text(7).empty()) return;  // a version without functions
        versions.back().functions.push_back(
            {id_at<FunctionId>(row, 5), id_at<PoolId>(row, 6), row.text(7), row.text(8)});
      },
      app, version);
  if (!read) return std::move(read).error();
  return versions;
}

// With app 0: those of all apps that are not stopped; with version 0: all of them.
Result<std::vector<VersionRecord>> versions_where(Database& database, AppId app,
                                                  std::uint32_t version) {
  auto query = database.prepare(
      "SELECT v.app, v.version, v.created_us, v.source, v.message, f.id, f.pool, f.name, "
      "f.spec_json, v.withdrawn FROM versions v JOIN apps a ON a.id = v.app "
      "LEFT JOIN functions f ON f.app = v.app AND f.version = v.version "
      "WHERE (v.app = ?1 OR (?1 = 0 AND a.stopped = 0)) AND (?2 = 0 OR v.version = ?2) "
      "ORDER BY v.app, v.version, f.position");
  if (!query) return std::move(query).error();
  return collect_versions(*query, static_cast<std::int64_t>(app.value), version);
}

VariantRecord variant_of(const Statement& row) {
  return {id_at<VariantId>(row, 0),
          id_at<AppId>(row, 1),
          version_at(row, 2),
          row.text(3),
          id_at<FunctionId>(row, 4),
          id_at<PoolId>(row, 5),
          row.text(6),
          row.text(7),
          time_at(row, 8)};
}

struct GroupColumn {
  CostGroup group;
  const char* expression;
};

// Days are UTC.
constexpr GroupColumn kGroupColumns[] = {
    {CostGroup::app, "app_name"},
    {CostGroup::function, "function"},
    {CostGroup::day, "date(window_start_us / 1000000, 'unixepoch')"},
    {CostGroup::phase, "phase"},
    {CostGroup::meter, "meter"},
};

std::string group_list(const std::vector<CostGroup>& groups) {
  std::string list;
  for (const CostGroup group : groups) {
    const auto* column = std::ranges::find(kGroupColumns, group, &GroupColumn::group);
    if (!list.empty()) list += ", ";
    list += column->expression;
  }
  return list;
}

// Only fixed text is put together here; what a user gave is bound.
std::string cost_sql(const std::vector<CostGroup>& groups) {
  const std::string list = group_list(groups);
  return "SELECT " + (list.empty() ? "" : list + ", ") +
         "SUM(amount_nano_usd), "
         "SUM(CASE WHEN meter <> 'gpu' THEN 0 WHEN device_bytes = 0 THEN quantity * units "
         // By mebibytes, so that the product has room.
         "ELSE quantity * (share_bytes >> 20) / (device_bytes >> 20) END), "
         "SUM(CASE meter WHEN 'cpu' THEN quantity * units ELSE 0 END), "
         "SUM(CASE meter WHEN 'memory' THEN quantity * units / 1048576 ELSE 0 END), "
         "SUM(CASE meter WHEN 'egress' THEN quantity ELSE 0 END), "
         "SUM(CASE meter WHEN 'disk' THEN quantity * (units / 1024) / 1024 ELSE 0 END), "
         "MAX(simulated) FROM ledger "
         "WHERE window_start_us >= ? AND window_start_us < ? AND (?3 = '' OR app_name = ?3)" +
         (list.empty() ? "" : " GROUP BY " + list + " ORDER BY " + list);
}

std::vector<DeviceId> devices_of(std::string_view text) {
  std::vector<DeviceId> devices;
  while (!text.empty()) {
    std::uint64_t value = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), value).ptr;
    if (value != 0) devices.push_back(DeviceId{value});
    const auto comma = text.find(',', static_cast<std::size_t>(end - text.data()));
    text.remove_prefix(comma == text.npos ? text.size() : comma + 1);
  }
  return devices;
}

constexpr std::string_view kCallColumns =
    "id, workspace, caller, app, function, format, arrived_us, expires_us, idempotency_key, "
    "request_sha256, repeats, ended_us, state, report_json, variant, priority, webhook, parent";

// Of a row of these columns; bodies are apart.
StoredCall call_of(const Statement& row) {
  StoredCall stored{{.id = id_at<CallId>(row, 0),
                     .workspace = id_at<WorkspaceId>(row, 1),
                     .caller = id_at<KeyId>(row, 2),
                     .app = row.text(3),
                     .function = row.text(4),
                     .variant = row.text(14),
                     .format = static_cast<BodyFormat>(row.integer(5)),
                     .arguments = {},
                     .arrived = time_at(row, 6),
                     .expires = time_at(row, 7),
                     .idempotency_key = row.text(8),
                     .request_sha256 = row.text(9),
                     .repeats = id_at<CallId>(row, 10),
                     .priority = {static_cast<std::int8_t>(row.integer(15))},
                     .webhook = row.text(16),
                     .parent = id_at<CallId>(row, 17)},
                    {}};
  if (row.integer(11) == 0) return stored;
  stored.end = CallEndRecord{.id = stored.call.id,
                             .ended = time_at(row, 11),
                             .state = row.text(12),
                             .format = BodyFormat::none,
                             .body = {},
                             .report_json = row.text(13)};
  return stored;
}

template <class... Values>
Result<StoredCall> whole_call_where(Database& database, const std::string& condition,
                                    const Values&... values) {
  std::optional<StoredCall> found;
  auto read = for_each(
      database,
      "SELECT " + std::string(kCallColumns) +
          ", arguments, result_format, result FROM calls WHERE " + condition,
      [&](Statement& row) {
        found = call_of(row);
        found->call.arguments = row.blob(18);
        if (!found->end) return;
        found->end->format = static_cast<BodyFormat>(row.integer(19));
        found->end->body = row.blob(20);
      },
      values...);
  if (!read) return std::move(read).error();
  if (!found)
    return {ErrorCode::not_found,
            "no such call is on record: it was not spawned, or has been forgotten since"};
  return *std::move(found);
}

Result<> read_open_calls(Database& database, Snapshot& snapshot) {
  return for_each(database,
                  "SELECT " + std::string(kCallColumns) +
                      ", arguments FROM calls WHERE ended_us = 0 ORDER BY id",
                  [&](Statement& row) {
                    snapshot.calls.push_back(call_of(row).call);
                    snapshot.calls.back().arguments = row.blob(18);
                  });
}

Result<> read_schedules(Database& database, Snapshot& snapshot) {
  return for_each(database,
                  "SELECT app, function, text, anchor_us, handled_us, paused, last_tick_us, "
                  "last_call, skipped, missed FROM schedules ORDER BY app, function",
                  [&](Statement& row) {
                    snapshot.schedules.push_back({.app = id_at<AppId>(row, 0),
                                                  .function = row.text(1),
                                                  .text = row.text(2),
                                                  .anchor = time_at(row, 3),
                                                  .handled = time_at(row, 4),
                                                  .paused = row.integer(5) != 0,
                                                  .last_tick = time_at(row, 6),
                                                  .last_call = id_at<CallId>(row, 7),
                                                  .skipped = row.integer(8),
                                                  .missed = row.integer(9)});
                  });
}

Result<> read_leases(Database& database, Snapshot& snapshot) {
  auto leases = for_each(database, "SELECT * FROM leases WHERE ended_us = 0 ORDER BY from_us, id",
                         [&](Statement& row) { snapshot.leases.push_back(lease_of(row)); });
  if (!leases) return leases;
  return for_each(database,
                  "SELECT s.id, MAX(l.window_end_us) FROM leases s "
                  "JOIN ledger l ON l.container = s.id AND l.of_lease = 1 WHERE s.ended_us = 0 "
                  "GROUP BY s.id ORDER BY s.id",
                  [&](Statement& row) {
                    snapshot.leases_billed.push_back({id_at<LeaseId>(row, 0), time_at(row, 1)});
                  });
}

}  // namespace

ContainerRecord container_of(const Statement& row) {
  return {id_at<ContainerId>(row, 0),
          id_at<PoolId>(row, 1),
          id_at<AppId>(row, 2),
          row.text(3),
          time_at(row, 4),
          time_at(row, 5),
          row.text(6)};
}

LeaseRecord lease_of(const Statement& row) {
  return {id_at<LeaseId>(row, 0), id_at<KeyId>(row, 1),    row.text(2),
          id_at<NodeId>(row, 3),  devices_of(row.text(4)), row.text(5),
          time_at(row, 6),        time_at(row, 7),         time_at(row, 8)};
}

Result<> read_snapshot(Database& database, Snapshot& snapshot) {
  auto keys = for_each(database,
                       "SELECT id, workspace, name, sha256, created_us, expires_us, revoked_us "
                       "FROM keys ORDER BY id",
                       [&](Statement& row) { snapshot.keys.push_back(key_of(row)); });
  if (!keys) return keys;
  auto apps = for_each(database, "SELECT * FROM apps ORDER BY id",
                       [&](Statement& row) { snapshot.apps.push_back(app_of(row)); });
  if (!apps) return apps;
  auto versions = versions_where(database, AppId{}, 0);
  if (!versions) return std::move(versions).error();
  snapshot.versions = std::move(versions).value();
  auto variants =
      for_each(database,
               "SELECT v.* FROM variants v JOIN apps a ON a.id = v.app "
               "WHERE (a.stopped = 0 AND v.version = a.version) "
               "OR v.pool IN (SELECT pool FROM containers WHERE ended_us = 0) ORDER BY v.id",
               [&](Statement& row) { snapshot.variants.push_back(variant_of(row)); });
  if (!variants) return variants;
  auto secrets = for_each(database, "SELECT * FROM secrets ORDER BY id, version",
                          [&](Statement& row) { snapshot.secrets.push_back(secret_of(row)); });
  if (!secrets) return secrets;
  auto containers =
      for_each(database, "SELECT * FROM containers WHERE ended_us = 0 ORDER BY id",
               [&](Statement& row) { snapshot.containers.push_back(container_of(row)); });
  if (!containers) return containers;
  if (auto leases = read_leases(database, snapshot); !leases) return leases;
  auto volumes = for_each(
      database, "SELECT * FROM volumes WHERE deleted_us = 0 ORDER BY id", [&](Statement& row) {
        snapshot.volumes.push_back({id_at<VolumeId>(row, 0), id_at<WorkspaceId>(row, 1),
                                    row.text(2), row.integer(3) != 0, time_at(row, 4),
                                    time_at(row, 5), time_at(row, 6)});
      });
  if (!volumes) return volumes;
  auto volume_versions =
      for_each(database,
               "SELECT v.* FROM volume_versions v JOIN volumes o ON o.id = v.volume "
               "WHERE o.deleted_us = 0 ORDER BY v.volume, v.version",
               [&](Statement& row) {
                 snapshot.volume_versions.push_back(
                     {id_at<VolumeId>(row, 0), version_at(row, 1), time_at(row, 2), row.text(3),
                      id_at<ContainerId>(row, 4), row.text(5), row.integer(6), row.integer(7)});
               });
  if (!volume_versions) return volume_versions;
  if (auto calls = read_open_calls(database, snapshot); !calls) return calls;
  if (auto schedules = read_schedules(database, snapshot); !schedules) return schedules;
  auto scalings = for_each(database, "SELECT * FROM scaling ORDER BY pool", [&](Statement& row) {
    snapshot.scalings.push_back({id_at<PoolId>(row, 0), id_at<AppId>(row, 1), row.text(2)});
  });
  if (!scalings) return scalings;
  if (auto read = read_webhook_secrets(database, snapshot.webhook_secrets); !read) return read;
  auto waiting = for_each(database, "SELECT COUNT(*) FROM webhooks WHERE state = 'waiting'",
                          [&](Statement& row) { snapshot.webhooks_waiting = row.integer(0); });
  if (!waiting) return waiting;
  if (auto shared = read_shared_records(database, snapshot.shared); !shared) return shared;
  return for_each(
      database,
      "SELECT c.id, MAX(l.window_end_us), "
      "SUM(CASE l.meter WHEN 'egress' THEN l.quantity ELSE 0 END) FROM containers c "
      "JOIN ledger l ON l.container = c.id WHERE c.ended_us = 0 "
      "GROUP BY c.id ORDER BY c.id",
      [&](Statement& row) {
        snapshot.billed.push_back({id_at<ContainerId>(row, 0), time_at(row, 1), row.integer(2)});
      });
}

Result<std::vector<CostRow>> read_cost(Database& database, const CostQuery& query) {
  std::vector<CostRow> rows;
  const int groups = static_cast<int>(query.by.size());
  auto read = for_each(
      database, cost_sql(query.by),
      [&](Statement& row) {
        CostRow& cost = rows.emplace_back();
        for (int i = 0; i < groups; ++i) cost.keys.push_back(row.text(i));
        cost.amount = Money{row.integer(groups)};
        cost.gpu_ms = row.integer(groups + 1);
        cost.cpu_millicore_ms = row.integer(groups + 2);
        cost.memory_mib_ms = row.integer(groups + 3);
        cost.egress_bytes = row.integer(groups + 4);
        cost.disk_mib_ms = row.integer(groups + 5);
        cost.simulated = row.integer(groups + 6) != 0;
      },
      query.from.us, query.until.us, query.app);
  if (!read) return std::move(read).error();
  return rows;
}

Result<std::vector<VersionRecord>> read_versions(Database& database, AppId app) {
  return versions_where(database, app, 0);
}

Result<VersionRecord> read_version(Database& database, AppId app, std::uint32_t version) {
  auto found = versions_where(database, app, version);
  if (!found) return std::move(found).error();
  if (version == 0 || found->empty()) {
    return {ErrorCode::not_found, "there is no version " + std::to_string(version) +
                                      "; `ember app history` lists those there are"};
  }
  return std::move(found->front());
}

Result<StoredCall> read_call(Database& database, CallId call) {
  return whole_call_where(database, "id = ?", call.value);
}

Result<StoredCall> read_call_by_key(Database& database, WorkspaceId workspace,
                                    const std::string& idempotency_key) {
  return whole_call_where(database,
                          "workspace = ? AND idempotency_key = ? AND idempotency_key <> ''",
                          workspace.value, idempotency_key);
}

Result<std::vector<StoredCall>> read_calls(Database& database, const CallQuery& query) {
  std::vector<StoredCall> calls;
  for (const std::string& state : query.states) {
    auto read = for_each(
        database,
        "SELECT " + std::string(kCallColumns) +
            " FROM calls WHERE state = ? AND (?2 = '' OR app = ?2) ORDER BY id DESC LIMIT ?3",
        [&](Statement& row) { calls.push_back(call_of(row)); }, state, query.app, query.limit);
    if (!read) return std::move(read).error();
  }
  std::ranges::sort(calls, std::greater{}, [](const StoredCall& one) { return one.call.id; });
  if (calls.size() > query.limit) calls.resize(query.limit);
  return calls;
}

Result<std::vector<StoredCall>> read_children(Database& database,
                                              const std::vector<CallId>& parents,
                                              std::size_t limit) {
  std::vector<StoredCall> calls;
  for (const CallId parent : parents) {
    if (calls.size() >= limit) break;
    auto read = for_each(
        database,
        "SELECT " + std::string(kCallColumns) +
            " FROM calls WHERE parent = ? AND parent <> 0 ORDER BY id LIMIT ?",
        [&](Statement& row) { calls.push_back(call_of(row)); }, parent.value, limit - calls.size());
    if (!read) return std::move(read).error();
  }
  std::ranges::sort(calls, {}, [](const StoredCall& one) { return one.call.id; });
  return calls;
}

Result<ContainerRecord> read_container(Database& database, ContainerId container) {
  std::optional<ContainerRecord> found;
  auto read = for_each(
      database, "SELECT * FROM containers WHERE id = ?",
      [&](Statement& row) { found = container_of(row); }, container.value);
  if (!read) return std::move(read).error();
  if (!found) return {ErrorCode::not_found, "no container " + container.text() + " is on record"};
  return *std::move(found);
}

}  // namespace ember
