#include "store/writes.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace ember {
namespace {

constexpr std::string_view kKey =
    "INSERT INTO keys (id, workspace, name, sha256, created_us, expires_us, revoked_us) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "name = excluded.name, expires_us = excluded.expires_us, "
    "revoked_us = MAX(revoked_us, excluded.revoked_us)";
constexpr std::string_view kForgottenKey = "DELETE FROM keys WHERE id = ?";
constexpr std::string_view kApp =
    "INSERT INTO apps VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "ephemeral = excluded.ephemeral, stopped = excluded.stopped, version = excluded.version, "
    "updated_us = excluded.updated_us, newest = excluded.newest";
constexpr std::string_view kVersion =
    "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
constexpr std::string_view kWithdrawnVersion =
    "UPDATE versions SET withdrawn = ? WHERE app = ? AND version = ? AND withdrawn = ''";
constexpr std::string_view kFunction =
    "INSERT INTO functions VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
constexpr std::string_view kContainer =
    "INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "exit = CASE WHEN ended_us = 0 THEN excluded.exit ELSE exit END, "
    "ended_us = CASE WHEN ended_us = 0 THEN excluded.ended_us ELSE ended_us END";
constexpr std::string_view kLease =
    "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "ended_us = CASE WHEN ended_us = 0 THEN excluded.ended_us ELSE ended_us END";
constexpr std::string_view kLedger =
    // The column `tag` is empty.
    "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING";
constexpr std::string_view kVolume =
    "INSERT INTO volumes VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "deleted_us = MAX(deleted_us, excluded.deleted_us), "
    "billed_us = MAX(billed_us, excluded.billed_us)";
constexpr std::string_view kVolumeVersion =
    "INSERT INTO volume_versions VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (volume, version) DO UPDATE SET layers = excluded.layers";
constexpr std::string_view kForgottenVolumeVersion =
    "DELETE FROM volume_versions WHERE volume = ? AND version = ?";
constexpr std::string_view kCall =
    "INSERT INTO calls (id, workspace, caller, app, function, variant, format, arguments, "
    "arrived_us, "
    "expires_us, idempotency_key, request_sha256, repeats, priority, webhook, parent) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";
constexpr std::string_view kCallEnd =
    "UPDATE calls SET ended_us = ?, state = ?, result_format = ?, result = ?, report_json = ? "
    "WHERE id = ? AND ended_us = 0";
// So many at a time that no other batch waits for long: less than a second.
constexpr std::string_view kForgottenCalls =
    "DELETE FROM calls WHERE id IN "
    "(SELECT id FROM calls WHERE ended_us <> 0 AND ended_us < ? ORDER BY ended_us LIMIT 100000)";
// The newest word on whether it is paused holds; of ticks the one that goes furthest.
constexpr std::string_view kSchedule =
    "INSERT INTO schedules VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (app, function) "
    "DO UPDATE SET paused = excluded.paused, handled_us = MAX(handled_us, excluded.handled_us), "
    "last_call = CASE WHEN excluded.last_tick_us >= last_tick_us "
    "THEN excluded.last_call ELSE last_call END, "
    "last_tick_us = MAX(last_tick_us, excluded.last_tick_us), "
    "skipped = MAX(skipped, excluded.skipped), missed = MAX(missed, excluded.missed)";
constexpr std::string_view kForgottenSchedule =
    "DELETE FROM schedules WHERE app = ? AND function = ?";
constexpr std::string_view kScaling =
    "INSERT INTO scaling VALUES (?, ?, ?) "
    "ON CONFLICT DO UPDATE SET scaling_json = excluded.scaling_json";
constexpr std::string_view kForgottenScaling = "DELETE FROM scaling WHERE app = ?";
// Another secret in the place of one that is there is a clash: no row may have no name.
constexpr std::string_view kSecret =
    "INSERT INTO secrets VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id, version) DO UPDATE SET "
    "name = CASE WHEN name = excluded.name AND created_us = excluded.created_us THEN name END";
constexpr std::string_view kErasedValues =
    "UPDATE secrets SET sealed = '' WHERE id = ? AND version < ? AND sealed <> ''";
constexpr std::string_view kOldSecrets = "DELETE FROM secrets WHERE id = ? AND version <= ?";
constexpr std::string_view kForgottenSecret = "DELETE FROM secrets WHERE id = ?";

constexpr std::string_view kVariant =
    "INSERT INTO variants VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
// Of versions before, but for those whose containers may live.
constexpr std::string_view kOldVariants =
    "DELETE FROM variants WHERE app = ? AND version < ? "
    "AND pool NOT IN (SELECT pool FROM containers WHERE ended_us = 0)";
constexpr std::string_view kForgottenVariant = "DELETE FROM variants WHERE id = ?";

std::string lines(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all.append(text).append("\n");
  return all;
}

std::string text_of(const std::vector<DeviceId>& devices) {
  std::string text;
  for (const DeviceId device : devices) {
    text += (text.empty() ? "" : ",") + std::to_string(device.value);
  }
  return text;
}

}  // namespace

Writer::Writer(Statement key, Statement forgotten_key, Statement app, Statement version,
               Statement function, Statement container, Statement lease, Statement ledger,
               Statement secret, Statement erased_values, Statement old_secrets,
               Statement forgotten_secret, Statement volume, Statement volume_version,
               Statement forgotten_volume_version, Statement variant, Statement old_variants,
               Statement forgotten_variant, Statement call, Statement call_end,
               Statement forgotten_calls, Statement schedule, Statement forgotten_schedule,
               Statement scaling, Statement forgotten_scaling, Statement withdrawn_version,
               WebhookRows webhooks)
    : key_(std::move(key)),
      forgotten_key_(std::move(forgotten_key)),
      app_(std::move(app)),
      version_(std::move(version)),
      function_(std::move(function)),
      container_(std::move(container)),
      lease_(std::move(lease)),
      ledger_(std::move(ledger)),
      secret_(std::move(secret)),
      erased_values_(std::move(erased_values)),
      old_secrets_(std::move(old_secrets)),
      forgotten_secret_(std::move(forgotten_secret)),
      volume_(std::move(volume)),
      volume_version_(std::move(volume_version)),
      forgotten_volume_version_(std::move(forgotten_volume_version)),
      variant_(std::move(variant)),
      old_variants_(std::move(old_variants)),
      forgotten_variant_(std::move(forgotten_variant)),
      call_(std::move(call)),
      call_end_(std::move(call_end)),
      forgotten_calls_(std::move(forgotten_calls)),
      schedule_(std::move(schedule)),
      forgotten_schedule_(std::move(forgotten_schedule)),
      scaling_(std::move(scaling)),
      forgotten_scaling_(std::move(forgotten_scaling)),
      withdrawn_version_(std::move(withdrawn_version)),
      webhooks_(std::move(webhooks)) {}

Result<Writer> Writer::prepare(Database& database) {
  constexpr std::array kTexts{kKey,
                              kForgottenKey,
                              kApp,
                              kVersion,
                              kFunction,
                              kContainer,
                              kLease,
                              kLedger,
                              kSecret,
                              kErasedValues,
                              kOldSecrets,
                              kForgottenSecret,
                              kVolume,
                              kVolumeVersion,
                              kForgottenVolumeVersion,
                              kVariant,
                              kOldVariants,
                              kForgottenVariant,
                              kCall,
                              kCallEnd,
                              kForgottenCalls,
                              kSchedule,
                              kForgottenSchedule,
                              kScaling,
                              kForgottenScaling,
                              kWithdrawnVersion};
  std::array<std::optional<Statement>, kTexts.size()> ready;
  for (std::size_t i = 0; i < kTexts.size(); ++i) {
    auto statement = database.prepare(kTexts[i]);
    if (!statement) return std::move(statement).error();
    ready[i] = std::move(statement).value();
  }
  auto webhooks = WebhookRows::prepare(database);
  if (!webhooks) return std::move(webhooks).error();
  return Writer(
      *std::move(ready[0]), *std::move(ready[1]), *std::move(ready[2]), *std::move(ready[3]),
      *std::move(ready[4]), *std::move(ready[5]), *std::move(ready[6]), *std::move(ready[7]),
      *std::move(ready[8]), *std::move(ready[9]), *std::move(ready[10]), *std::move(ready[11]),
      *std::move(ready[12]), *std::move(ready[13]), *std::move(ready[14]), *std::move(ready[15]),
      *std::move(ready[16]), *std::move(ready[17]), *std::move(ready[18]), *std::move(ready[19]),
      *std::move(ready[20]), *std::move(ready[21]), *std::move(ready[22]), *std::move(ready[23]),
      *std::move(ready[24]), *std::move(ready[25]), std::move(webhooks).value());
}

Result<> Writer::write(const Batch& batch) {
  for (const Write& record : batch) {
    auto result = std::visit([this](const auto& kind) { return write_one(kind); }, record);
    if (!result) return result;
  }
  return Ok{};
}

Result<> Writer::write_one(const KeyRecord& record) {
  return key_.run(record.id.value, record.workspace.value, record.name, record.sha256,
                  record.created.us, record.expires.us, record.revoked.us);
}

Result<> Writer::write_one(const ForgottenKey& record) {
  return forgotten_key_.run(record.id.value);
}

Result<> Writer::write_one(const AppRecord& record) {
  return app_.run(record.id.value, record.name, record.ephemeral, record.stopped, record.version,
                  record.updated.us, std::max(record.version, record.newest));
}

Result<> Writer::write_one(const VersionRecord& record) {
  auto result = version_.run(record.app.value, record.version, record.created.us, record.source,
                             record.message, record.withdrawn);
  int position = 0;
  for (const FunctionRecord& function : record.functions) {
    if (!result) return result;
    result = function_.run(record.app.value, record.version, position++, function.id.value,
                           function.pool.value, function.name, function.spec_json);
  }
  return result;
}

Result<> Writer::write_one(const WithdrawnVersion& record) {
  return withdrawn_version_.run(record.why, record.app.value, record.version);
}

Result<> Writer::write_one(const VariantRecord& record) {
  auto result = variant_.run(record.id.value, record.app.value, record.version, record.function,
                             record.line.value, record.pool.value, record.parameters_json,
                             record.options_json, record.created.us);
  return result ? old_variants_.run(record.app.value, record.version) : result;
}

Result<> Writer::write_one(const ForgottenVariant& record) {
  return forgotten_variant_.run(record.id.value);
}

Result<> Writer::write_one(const ContainerRecord& record) {
  return container_.run(record.id.value, record.pool.value, record.app.value, record.function,
                        record.started.us, record.ended.us, record.exit);
}

Result<> Writer::write_one(const LeaseRecord& record) {
  return lease_.run(record.id.value, record.key.value, record.holder, record.node.value,
                    text_of(record.devices), record.gpu_type, record.from.us, record.until.us,
                    record.ended.us);
}

Result<> Writer::write_one(const LedgerRecord& record) {
  const UsageRow& row = record.row;
  const std::uint64_t holder = row.lease ? row.lease.value : row.container.value;
  return ledger_.run(holder, row.window_start.us, meter_name(row.meter), phase_name(row.phase),
                     row.window_end.us, row.pool.value, row.quantity, row.units, row.gpu_type,
                     record.app.value, record.app_name, record.function, record.price.nano_usd,
                     record.price_source, record.amount.nano_usd, record.simulated, row.share_bytes,
                     row.device_bytes, static_cast<bool>(row.lease));
}

Result<> Writer::write_one(const SecretRecord& record) {
  auto result = secret_.run(record.id.value, record.version, record.workspace.value, record.name,
                            record.app.value, record.created.us, lines(record.keys), record.sealed);
  if (result) result = erased_values_.run(record.id.value, record.version);
  if (!result || record.version <= kMostSecretVersions) return result;
  return old_secrets_.run(record.id.value, record.version - kMostSecretVersions);
}

Result<> Writer::write_one(const ForgottenSecret& record) {
  return forgotten_secret_.run(record.id.value);
}

Result<> Writer::write_one(const VolumeRecord& record) {
  return volume_.run(record.id.value, record.workspace.value, record.name, record.ephemeral,
                     record.created.us, record.deleted.us, record.billed.us);
}

Result<> Writer::write_one(const VolumeVersionRecord& record) {
  return volume_version_.run(record.volume.value, record.version, record.created.us, record.message,
                             record.container.value, record.layers, record.files, record.bytes);
}

Result<> Writer::write_one(const ForgottenVolumeVersion& record) {
  return forgotten_volume_version_.run(record.volume.value, record.version);
}

Result<> Writer::write_one(const CallRecord& record) {
  return call_.run(record.id.value, record.workspace.value, record.caller.value, record.app,
                   record.function, record.variant, static_cast<int>(record.format),
                   Blob{record.arguments}, record.arrived.us, record.expires.us,
                   record.idempotency_key, record.request_sha256, record.repeats.value,
                   record.priority.value, record.webhook, record.parent.value);
}

Result<> Writer::write_one(const CallEndRecord& record) {
  return call_end_.run(record.ended.us, record.state, static_cast<int>(record.format),
                       Blob{record.body}, record.report_json, record.id.value);
}

Result<> Writer::write_one(const ForgottenCalls& record) {
  auto result = forgotten_calls_.run(record.ended_before.us);
  return result ? webhooks_.forget(record.ended_before) : result;
}

Result<> Writer::write_one(const ScheduleRecord& record) {
  return schedule_.run(record.app.value, record.function, record.text, record.anchor.us,
                       record.handled.us, record.paused, record.last_tick.us,
                       record.last_call.value, record.skipped, record.missed);
}

Result<> Writer::write_one(const ScalingRecord& record) {
  return scaling_.run(record.pool.value, record.app.value, record.scaling_json);
}

Result<> Writer::write_one(const ForgottenScaling& record) {
  return forgotten_scaling_.run(record.app.value);
}

Result<> Writer::write_one(const ForgottenSchedule& record) {
  return forgotten_schedule_.run(record.app.value, record.function);
}

Result<> Writer::write_one(const WebhookRecord& record) { return webhooks_.write(record); }

Result<> Writer::write_one(const WebhookProgress& record) { return webhooks_.write(record); }

Result<> Writer::write_one(const WebhookSecretRecord& record) { return webhooks_.write(record); }

}  // namespace ember
