#include "store/shared_reads.h"

#include <utility>

namespace ember {
namespace {

template <class OnRow, class... Parameters>
Result<> for_each(Database& database, std::string_view sql, OnRow&& on_row,
                  const Parameters&... values) {
  auto query = database.prepare(sql);
  if (!query) return std::move(query).error();
  return query->each(std::forward<OnRow>(on_row), values...);
}

SharedId id_at(const Statement& row, int column) {
  return SharedId{static_cast<std::uint64_t>(row.integer(column))};
}

BodyFormat format_at(const Statement& row, int column) {
  return static_cast<BodyFormat>(row.integer(column));
}

// How many of the first are not too large together; where values are left out, all of them.
std::size_t fitting(const std::vector<SharedItem>& items, Values values) {
  if (values == Values::leave_out) return items.size();
  std::int64_t bytes = 0;
  std::size_t count = 0;
  for (const SharedItem& item : items) {
    bytes += item.size_bytes;
    if (count > 0 && bytes > kMaxBytesAtOnce) break;
    ++count;
  }
  return count;
}

// The page that these begin, of which one more was asked for than it may have.
void cut_page(SharedAnswer& answer, std::int64_t limit, Values values) {
  const std::size_t asked = answer.items.size();
  if (std::cmp_greater(asked, limit)) answer.items.resize(static_cast<std::size_t>(limit));
  answer.items.resize(fitting(answer.items, values));
  answer.has_more = answer.items.size() < asked;
}

// Puts the values, in the order of the items, where they belong.
class ValueReader {
 public:
  explicit ValueReader(std::vector<SharedItem>& items) : next_(items.begin()) {}
  void operator()(const Statement& row) { (next_++)->value.bytes = row.blob(0); }

 private:
  std::vector<SharedItem>::iterator next_;
};

Result<> read(Database& database, const DictLook& look, SharedAnswer& answer) {
  const std::string value = look.values == Values::read ? "e.value" : "x''";
  return for_each(
      database,
      "SELECT e.key, LENGTH(e.value), e.format, " + value +
          " FROM shelves s JOIN dict_entries e ON e.shelf = s.id "
          "WHERE s.owner = ? AND s.owner <> 0 AND s.part = '' AND e.key = ?",
      [&](Statement& row) {
        answer.items.push_back({row.text(0), 0, row.integer(1), {format_at(row, 2), row.blob(3)}});
      },
      look.dict.value, look.key);
}

Result<> read(Database& database, const DictPage& page, SharedAnswer& answer) {
  auto found = for_each(
      database,
      "SELECT e.key, LENGTH(e.value), e.format FROM shelves s JOIN dict_entries e "
      "ON e.shelf = s.id WHERE s.owner = ? AND s.owner <> 0 AND s.part = '' AND e.key > ? "
      "ORDER BY e.key LIMIT ?",
      [&](Statement& row) {
        answer.items.push_back({row.text(0), 0, row.integer(1), {format_at(row, 2), {}}});
      },
      page.dict.value, page.after, page.limit + 1);
  if (!found) return found;
  cut_page(answer, page.limit, page.values);
  if (page.values == Values::leave_out || answer.items.empty()) return Ok{};
  return for_each(database,
                  "SELECT e.value FROM shelves s JOIN dict_entries e ON e.shelf = s.id "
                  "WHERE s.owner = ? AND s.owner <> 0 AND s.part = '' AND e.key > ? "
                  "AND e.key <= ? ORDER BY e.key",
                  ValueReader(answer.items), page.dict.value, page.after, answer.items.back().key);
}

Result<> read(Database& database, const QueuePage& page, SharedAnswer& answer) {
  auto found = for_each(
      database,
      "SELECT i.sequence, LENGTH(i.value), i.format FROM shelves s JOIN queue_items i "
      "ON i.shelf = s.id WHERE s.owner = ? AND s.owner <> 0 AND s.part = ? "
      "AND s.expires_us > ? AND i.sequence > ? ORDER BY i.sequence LIMIT ?",
      [&](Statement& row) {
        answer.items.push_back({{}, row.integer(0), row.integer(1), {format_at(row, 2), {}}});
      },
      page.queue.value, page.partition, page.now.us, page.after, page.limit + 1);
  if (!found) return found;
  cut_page(answer, page.limit, page.values);
  if (page.values == Values::leave_out || answer.items.empty()) return Ok{};
  return for_each(database,
                  "SELECT i.value FROM shelves s JOIN queue_items i ON i.shelf = s.id "
                  "WHERE s.owner = ? AND s.owner <> 0 AND s.part = ? AND i.sequence > ? "
                  "AND i.sequence <= ? ORDER BY i.sequence",
                  ValueReader(answer.items), page.queue.value, page.partition, page.after,
                  answer.items.back().sequence);
}

Result<> read(Database& database, const SharedCounts& counts, SharedAnswer& answer) {
  return for_each(
      database,
      "SELECT part, entries, bytes, expires_us FROM shelves WHERE owner = ?1 AND owner <> 0 "
      "AND expires_us > ?2 AND (?3 = 0 OR part = ?4) ORDER BY part",
      [&](Statement& row) {
        answer.counts.push_back(
            {counts.id, row.text(0), row.integer(1), row.integer(2), Time{row.integer(3)}});
      },
      counts.id.value, counts.now.us, counts.partition.has_value(), counts.partition.value_or(""));
}

Result<> read(Database& database, const SharedTotals& totals, SharedAnswer& answer) {
  return for_each(
      database,
      "SELECT o.id, COALESCE(SUM(s.entries), 0), COALESCE(SUM(s.bytes), 0) FROM shared o "
      "LEFT JOIN shelves s ON s.owner = o.id AND s.owner <> 0 AND s.expires_us > ?1 "
      "WHERE o.workspace = ?2 AND o.kind = ?3 GROUP BY o.id ORDER BY o.name",
      [&](Statement& row) {
        answer.counts.push_back({id_at(row, 0), {}, row.integer(1), row.integer(2)});
      },
      totals.now.us, totals.workspace.value, static_cast<int>(totals.kind));
}

}  // namespace

Result<> read_shared_records(Database& database, std::vector<SharedRecord>& records) {
  return for_each(
      database, "SELECT id, workspace, kind, name, ephemeral, created_us FROM shared ORDER BY id",
      [&](Statement& row) {
        records.push_back({id_at(row, 0), WorkspaceId{static_cast<std::uint64_t>(row.integer(1))},
                           static_cast<SharedKind>(row.integer(2)), row.text(3),
                           row.integer(4) != 0, Time{row.integer(5)}});
      });
}

Result<SharedAnswer> read_shared(Database& database, const SharedQuery& query) {
  if (auto begun = database.execute("BEGIN"); !begun) return std::move(begun).error();
  SharedAnswer answer;
  auto found = std::visit([&](const auto& kind) { return read(database, kind, answer); }, query);
  database.roll_back();
  if (!found) return std::move(found).error();
  return answer;
}

}  // namespace ember
