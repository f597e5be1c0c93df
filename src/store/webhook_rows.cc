#include "store/webhook_rows.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

namespace ember {
namespace {

constexpr std::string_view kWebhook =
    "INSERT INTO webhooks VALUES (?, ?, ?, ?, ?, ?, ?7, 'waiting', 0, 0, ?7, 0, 0, '') "
    "ON CONFLICT (id) DO NOTHING";
constexpr std::string_view kProgress =
    "UPDATE webhooks SET state = ?, tries = ?2, scheduled_from = ?3, next_us = ?4, "
    "last_try_us = ?5, status = ?6, outcome = ?7 WHERE id = ?8 AND tries <= ?2";
constexpr std::string_view kSecret =
    "INSERT INTO webhook_secrets VALUES (?, ?, ?, ?, ?) ON CONFLICT (workspace, version) "
    "DO UPDATE SET until_us = MIN(until_us, excluded.until_us)";
constexpr std::string_view kOldSecrets =
    "DELETE FROM webhook_secrets WHERE workspace = ? AND version < ?";
// So many at a time that no other batch waits for long.
constexpr std::string_view kForgotten =
    "DELETE FROM webhooks WHERE id IN (SELECT id FROM webhooks "
    "WHERE state <> 'waiting' AND created_us < ? ORDER BY created_us LIMIT 100000)";

constexpr std::string_view kColumns =
    "id, workspace, url, origin, type, created_us, state, tries, scheduled_from, next_us, "
    "last_try_us, status, outcome";
constexpr int kBodyColumn = 13;

// Of a row of these columns.
StoredWebhook webhook_of(const Statement& row) {
  const WebhookId id{static_cast<std::uint64_t>(row.integer(0))};
  return {{.id = id,
           .workspace = WorkspaceId{static_cast<std::uint64_t>(row.integer(1))},
           .url = row.text(2),
           .origin = row.text(3),
           .type = row.text(4),
           .body = {},
           .created = Time{row.integer(5)}},
          {.id = id,
           .state = parse_webhook_state(row.text(6)).value_or(WebhookState::dead),
           .tries = static_cast<std::uint32_t>(row.integer(7)),
           .scheduled_from = static_cast<std::uint32_t>(row.integer(8)),
           .next = Time{row.integer(9)},
           .last_try = Time{row.integer(10)},
           .status = static_cast<int>(row.integer(11)),
           .outcome = row.text(12)}};
}

enum class Bodies : std::uint8_t { with, without };

template <class... Values>
Result<std::vector<StoredWebhook>> webhooks_where(Database& database, Bodies bodies,
                                                  const std::string& condition,
                                                  const Values&... values) {
  std::string sql = "SELECT " + std::string(kColumns);
  sql += bodies == Bodies::with ? ", body" : ", ''";
  sql += " FROM webhooks WHERE " + condition;
  auto query = database.prepare(sql);
  if (!query) return std::move(query).error();
  std::vector<StoredWebhook> found;
  auto read = query->each(
      [&](Statement& row) {
        found.push_back(webhook_of(row));
        found.back().webhook.body = row.text(kBodyColumn);
      },
      values...);
  if (!read) return std::move(read).error();
  return found;
}

}  // namespace

WebhookRows::WebhookRows(Statement webhook, Statement progress, Statement secret,
                         Statement old_secrets, Statement forgotten)
    : webhook_(std::move(webhook)),
      progress_(std::move(progress)),
      secret_(std::move(secret)),
      old_secrets_(std::move(old_secrets)),
      forgotten_(std::move(forgotten)) {}

Result<WebhookRows> WebhookRows::prepare(Database& database) {
  constexpr std::array kTexts{kWebhook, kProgress, kSecret, kOldSecrets, kForgotten};
  std::array<std::optional<Statement>, kTexts.size()> ready;
  for (std::size_t i = 0; i < kTexts.size(); ++i) {
    auto statement = database.prepare(kTexts[i]);
    if (!statement) return std::move(statement).error();
    ready[i] = std::move(statement).value();
  }
  return WebhookRows(*std::move(ready[0]), *std::move(ready[1]), *std::move(ready[2]),
                     *std::move(ready[3]), *std::move(ready[4]));
}

Result<> WebhookRows::write(const WebhookRecord& record) {
  return webhook_.run(record.id.value, record.workspace.value, record.url, record.origin,
                      record.type, record.body, record.created.us);
}

Result<> WebhookRows::write(const WebhookProgress& record) {
  return progress_.run(webhook_state_name(record.state), record.tries, record.scheduled_from,
                       record.next.us, record.last_try.us, record.status, record.outcome,
                       record.id.value);
}

Result<> WebhookRows::write(const WebhookSecretRecord& record) {
  auto result = secret_.run(record.workspace.value, record.version, record.created.us,
                            record.until.us, record.sealed);
  if (!result || record.version < 2) return result;
  return old_secrets_.run(record.workspace.value, record.version - 1);
}

Result<> WebhookRows::forget(Time created_before) { return forgotten_.run(created_before.us); }

Result<std::vector<StoredWebhook>> read_waiting_webhooks(Database& database,
                                                         const WaitingWebhooks& query) {
  std::array<std::string, kMostOriginsLeftOut> out;  // no origin is empty
  std::copy_n(query.without_origins.begin(), std::min(query.without_origins.size(), out.size()),
              out.begin());
  return webhooks_where(database, Bodies::with,
                        "state = 'waiting' AND origin NOT IN (?, ?, ?, ?, ?, ?, ?, ?) "
                        "ORDER BY next_us, id LIMIT ?",
                        out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7],
                        query.limit);
}

Result<std::vector<StoredWebhook>> read_webhooks(Database& database, const WebhookQuery& query) {
  const std::string order = " ORDER BY id DESC LIMIT ?";
  if (!query.state) return webhooks_where(database, Bodies::without, "1" + order, query.limit);
  return webhooks_where(database, Bodies::without, "state = ?" + order,
                        webhook_state_name(*query.state), query.limit);
}

Result<StoredWebhook> read_webhook(Database& database, WebhookId webhook) {
  auto found = webhooks_where(database, Bodies::with, "id = ?", webhook.value);
  if (!found) return std::move(found).error();
  if (found->empty()) {
    return {ErrorCode::not_found, "no webhook " + webhook.text() +
                                      " is on record: its call has not ended or had none, or it "
                                      "has been forgotten since"};
  }
  return std::move(found->front());
}

Result<> read_webhook_secrets(Database& database, std::vector<WebhookSecretRecord>& secrets) {
  auto query = database.prepare(
      "SELECT workspace, version, created_us, until_us, sealed FROM webhook_secrets "
      "ORDER BY workspace, version");
  if (!query) return std::move(query).error();
  return query->each([&](Statement& row) {
    secrets.push_back({.workspace = WorkspaceId{static_cast<std::uint64_t>(row.integer(0))},
                       .version = static_cast<std::uint32_t>(row.integer(1)),
                       .created = Time{row.integer(2)},
                       .until = Time{row.integer(3)},
                       .sealed = row.text(4)});
  });
}

}  // namespace ember
