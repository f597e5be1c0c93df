#include "store/inspection.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

#include "store/migrations.h"
#include "store/reads.h"
#include "store/sqlite.h"

namespace ember {
namespace {

constexpr std::size_t kMostTroubles = 100;  // of one look
constexpr const char* kMend =
    "stop the server, keep a copy of this database, and restore the last good one";
constexpr const char* kReport = "keep a copy of this database and report it";

// What must hold between records: the query gives those for which it does not, by id and with a
// detail.
struct Invariant {
  const char* what;
  std::string (*name)(std::uint64_t id);
  const char* query;
};

template <class IdType>
std::string name_of(std::uint64_t id) {
  return IdType{id}.text();
}

constexpr std::array kInvariants{
    Invariant{"a version of no app", name_of<AppId>,
              "SELECT v.app, 'version ' || v.version FROM versions v "
              "LEFT JOIN apps a ON a.id = v.app WHERE a.id IS NULL"},
    Invariant{"a function of no version", name_of<FunctionId>,
              "SELECT f.id, f.name || ', version ' || f.version FROM functions f "
              "LEFT JOIN versions v ON v.app = f.app AND v.version = f.version "
              "WHERE v.app IS NULL"},
    Invariant{"a pool of two functions", name_of<PoolId>,
              "SELECT pool, COUNT(*) || ' functions' FROM functions GROUP BY pool "
              "HAVING COUNT(*) > 1"},
    Invariant{"its current version is missing", name_of<AppId>,
              "SELECT a.id, a.name || ', version ' || a.version FROM apps a "
              "LEFT JOIN versions v ON v.app = a.id AND v.version = a.version "
              "WHERE v.app IS NULL"},
    Invariant{"a container of no function", name_of<ContainerId>,
              "SELECT c.id, c.function FROM containers c "
              "LEFT JOIN functions f ON f.pool = c.pool AND f.app = c.app WHERE f.pool IS NULL"},
    Invariant{"it ended before it started", name_of<ContainerId>,
              "SELECT id, ended_us || ' us' FROM containers "
              "WHERE started_us <= 0 OR (ended_us <> 0 AND ended_us < started_us)"},
    Invariant{"an entry of no container", name_of<ContainerId>,
              "SELECT l.container, COUNT(*) || ' entries' FROM ledger l "
              "LEFT JOIN containers c ON c.id = l.container "
              "WHERE c.id IS NULL AND l.of_lease = 0 AND l.meter <> 'disk' "
              "GROUP BY l.container"},
    Invariant{"an entry of no volume", name_of<VolumeId>,
              "SELECT l.container, COUNT(*) || ' entries' FROM ledger l "
              "LEFT JOIN volumes v ON v.id = l.container "
              "WHERE v.id IS NULL AND l.meter = 'disk' GROUP BY l.container"},
    Invariant{"an entry of another pool or app than its container's", name_of<ContainerId>,
              "SELECT l.container, COUNT(*) || ' entries' FROM ledger l "
              "JOIN containers c ON c.id = l.container "
              "WHERE l.pool <> c.pool OR l.app <> c.app OR l.function <> c.function "
              "GROUP BY l.container"},
    Invariant{"its newest version has no values", name_of<SecretId>,
              "SELECT id, 'version ' || version FROM secrets s WHERE sealed = '' AND version = "
              "(SELECT MAX(version) FROM secrets WHERE id = s.id)"},
    Invariant{"a secret of no app", name_of<SecretId>,
              "SELECT s.id, 'version ' || s.version FROM secrets s "
              "LEFT JOIN apps a ON a.id = s.app WHERE s.name = '' AND a.id IS NULL"},
    Invariant{"an entry of no lease", name_of<LeaseId>,
              "SELECT l.container, COUNT(*) || ' entries' FROM ledger l "
              "LEFT JOIN leases s ON s.id = l.container WHERE s.id IS NULL AND l.of_lease = 1 "
              "GROUP BY l.container"},
    Invariant{"it ended before it began, or after its time", name_of<LeaseId>,
              "SELECT id, ended_us || ' us' FROM leases WHERE until_us < from_us "
              "OR (ended_us <> 0 AND (ended_us < from_us OR ended_us > until_us))"},
    Invariant{"what lies in it belongs to no dictionary or queue", name_of<SharedId>,
              "SELECT s.owner, COUNT(*) || ' partitions' FROM shelves s "
              "LEFT JOIN shared o ON o.id = s.owner WHERE s.owner <> 0 AND o.id IS NULL "
              "GROUP BY s.owner"},
    Invariant{"an entry of an unknown meter or phase", name_of<ContainerId>,
              "SELECT container, meter || ', ' || phase FROM ledger "
              "WHERE meter NOT IN ('gpu', 'cpu', 'memory', 'egress', 'disk') "
              "OR phase NOT IN ('boot', 'load', 'execute', 'idle', 'leased', 'kept')"},
};

template <class Named, std::size_t Size>
Named named(const std::string& name, const std::array<Named, Size>& all,
            std::string_view (*name_of)(Named)) {
  for (const Named one : all) {
    if (name_of(one) == name) return one;
  }
  return all.front();  // the invariants have named it
}

LedgerRecord entry_of(const Statement& row) {
  constexpr std::array kMeters{Meter::gpu, Meter::cpu, Meter::memory, Meter::egress, Meter::disk};
  constexpr std::array kPhases{Phase::boot, Phase::load,   Phase::execute,
                               Phase::idle, Phase::leased, Phase::kept};
  LedgerRecord record;
  record.row = {ContainerId{static_cast<std::uint64_t>(row.integer(0))},
                PoolId{static_cast<std::uint64_t>(row.integer(5))},
                named(row.text(2), kMeters, meter_name),
                named(row.text(3), kPhases, phase_name),
                Time{row.integer(1)},
                Time{row.integer(4)},
                row.integer(6),
                row.integer(7),
                row.text(8),
                row.integer(11),
                row.integer(12)};
  record.price = {row.integer(9)};
  record.amount = {row.integer(10)};
  return record;
}

constexpr std::string_view kVolumeEntries =
    "SELECT container, window_start_us, meter, phase, window_end_us, pool, quantity, units, "
    "gpu_type, price_nano_usd_per_hour, amount_nano_usd, share_bytes, device_bytes FROM ledger "
    "WHERE meter = 'disk' "
    "ORDER BY container, window_start_us";
constexpr std::string_view kEntries =
    "SELECT container, window_start_us, meter, phase, window_end_us, pool, quantity, units, "
    "gpu_type, price_nano_usd_per_hour, amount_nano_usd, share_bytes, device_bytes FROM ledger "
    "WHERE container = ?1 AND of_lease = ?2 ORDER BY window_start_us, meter, phase";

class Inspector {
 public:
  Inspector(Database& database, const OnContainer& on_container, const OnLease& on_lease,
            const OnVolumeEntry& on_volume_entry)
      : database_(database),
        on_container_(on_container),
        on_lease_(on_lease),
        on_volume_entry_(on_volume_entry) {}

  Inspection run() {
    look("schema", &Inspector::check_schema);
    if (!readable_) return std::move(inspection_);
    look("pages", &Inspector::check_pages);
    look("writer", &Inspector::check_writer);
    look("records", &Inspector::check_records);
    look("ledger", &Inspector::read_ledger);
    return std::move(inspection_);
  }

 private:
  void look(const char* check, Result<> (Inspector::*what)(FindingList&)) {
    FindingList found(check, kMostTroubles);
    if (auto done = (this->*what)(found); !done) found.trouble(done.error().message, kMend);
    std::ranges::move(found.take(), std::back_inserter(inspection_.findings));
  }

  Result<> for_each(std::string_view sql, const std::function<void(Statement&)>& on_row) {
    auto query = database_.prepare(sql);
    if (!query) return std::move(query).error();
    return query->each(on_row);
  }
  Result<std::int64_t> integer(std::string_view sql) {
    std::int64_t value = 0;
    auto read = for_each(sql, [&](Statement& row) { value = row.integer(0); });
    if (!read) return std::move(read).error();
    return value;
  }

  Result<> check_schema(FindingList& found) {
    const auto schema = integer("PRAGMA user_version");
    if (!schema) return schema.error();
    readable_ = *schema == newest_schema();
    const std::string text = "schema " + std::to_string(*schema);
    if (readable_) {
      found.ok(text);
    } else if (*schema < 0) {
      found.trouble(text + " is none that there can be", kMend);
    } else if (*schema == 0) {
      found.trouble("this is no state of Ember's: it has no schema", "name another file");
    } else {
      found.trouble(text + ", this emberd knows " + std::to_string(newest_schema()),
                    *schema > newest_schema() ? "look with the emberd that wrote it"
                                              : "start the server once, which brings it forward");
    }
    return Ok{};
  }

  // SQLite's own look at every page, index and record.
  Result<> check_pages(FindingList& found) {
    auto read = for_each("PRAGMA integrity_check(100)", [&](Statement& row) {
      const std::string text = row.text(0);
      if (text != "ok") found.trouble(text, kMend);
    });
    if (!read || found.troubles() > 0) return read;
    const auto pages = integer("PRAGMA page_count");
    if (!pages) return pages.error();
    found.ok(std::to_string(*pages) + " pages, indexes and records are whole");
    return Ok{};
  }

  Result<> check_writer(FindingList& found) {
    const auto rows = integer("SELECT COUNT(*) FROM writer");
    if (!rows) return rows.error();
    const auto epoch = integer("SELECT MAX(epoch) FROM writer");
    if (!epoch) return epoch.error();
    if (*rows == 1 && *epoch >= 0) {
      found.ok("epoch " + std::to_string(*epoch));
    } else {
      found.trouble(std::to_string(*rows) + " writers, of epoch " + std::to_string(*epoch),
                    kReport);
    }
    return Ok{};
  }

  Result<> check_records(FindingList& found) {
    for (const Invariant& invariant : kInvariants) {
      auto read = for_each(invariant.query, [&](Statement& row) {
        found.trouble(invariant.name(static_cast<std::uint64_t>(row.integer(0))) + " (" +
                          row.text(1) + "): " + invariant.what,
                      kReport);
      });
      if (!read) return read;
    }
    if (found.troubles() == 0)
      found.ok(std::to_string(kInvariants.size()) + " rules between records hold");
    return Ok{};
  }

  Result<> read_ledger(FindingList&) {
    std::vector<ContainerRecord> containers;
    auto read = for_each("SELECT * FROM containers ORDER BY id",
                         [&](Statement& row) { containers.push_back(container_of(row)); });
    if (!read) return read;
    auto query = database_.prepare(kEntries);
    if (!query) return std::move(query).error();
    for (const ContainerRecord& container : containers) {
      std::vector<LedgerRecord> entries;
      auto got = query->each([&](Statement& row) { entries.push_back(entry_of(row)); },
                             container.id.value, false);
      if (!got) return got;
      ++inspection_.containers;
      inspection_.entries += static_cast<std::int64_t>(entries.size());
      on_container_(container, entries);
    }
    if (auto leases = read_leases(*query); !leases) return leases;
    auto volumes = for_each(kVolumeEntries, [&](Statement& row) {
      ++inspection_.entries;
      on_volume_entry_(entry_of(row));
    });
    if (!volumes) return volumes;
    const auto bill = read_cost(database_, {{}, "", Time{}, Time::never()});
    if (!bill) return bill.error();
    if (!bill->empty()) inspection_.billed = bill->front().amount;
    return Ok{};
  }

  Result<> read_leases(Statement& query) {
    std::vector<LeaseRecord> leases;
    auto read = for_each("SELECT * FROM leases ORDER BY id",
                         [&](Statement& row) { leases.push_back(lease_of(row)); });
    if (!read) return read;
    for (const LeaseRecord& lease : leases) {
      std::vector<LedgerRecord> entries;
      auto got = query.each([&](Statement& row) { entries.push_back(entry_of(row)); },
                            lease.id.value, true);
      if (!got) return got;
      ++inspection_.leases;
      inspection_.entries += static_cast<std::int64_t>(entries.size());
      on_lease_(lease, entries);
    }
    return Ok{};
  }

  Database& database_;
  const OnContainer& on_container_;
  const OnLease& on_lease_;
  const OnVolumeEntry& on_volume_entry_;
  Inspection inspection_;
  bool readable_ = false;  // of the schema whose tables are known here
};

}  // namespace

Result<Inspection> inspect_state(const std::string& path, const OnContainer& on_container,
                                 const OnLease& on_lease, const OnVolumeEntry& on_volume_entry) {
  auto database = Database::open_to_read(path);
  if (!database) return std::move(database).error();
  // All looks are at one state, whatever a server writes meanwhile. A file that is no database at
  // all fails here first; that is what the looks then say.
  (void)database->execute("BEGIN").ok();
  Inspection inspection = Inspector(*database, on_container, on_lease, on_volume_entry).run();
  database->roll_back();
  return inspection;
}

}  // namespace ember
