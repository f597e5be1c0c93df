#include "store/shared_writes.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace ember {
namespace {

constexpr std::int64_t kMostEmptiedAtOnce = 5'000;            // entries, of a sweep
constexpr std::int64_t kMostBytesEmptiedAtOnce = 16ll << 20;  // but for the first of them
constexpr std::int64_t kMostDisownedAtOnce = 1'000;           // shelves, of a sweep
constexpr const char* kWholeDict = "";                        // the part that a dictionary is

// In the order of SharedWriter::Sql.
constexpr std::array<std::string_view, 24> kTexts{
    "INSERT INTO shared VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    "DELETE FROM shared WHERE id = ?",
    "SELECT 1 FROM shared WHERE id = ?",
    "UPDATE shelves SET owner = 0 WHERE owner = ?",
    "UPDATE shelves SET owner = 0 WHERE owner = ? AND part = ?",
    "UPDATE shelves SET owner = 0 WHERE id = ?",
    "UPDATE shelves SET owner = 0 WHERE id IN (SELECT id FROM shelves WHERE owner <> 0 "
    "AND expires_us <= ? ORDER BY expires_us LIMIT ?)",
    "SELECT id, entries, bytes, expires_us FROM shelves WHERE owner = ? AND owner <> 0 "
    "AND part = ?",
    "SELECT COUNT(*) FROM shelves WHERE owner = ? AND owner <> 0",
    "INSERT INTO shelves (owner, part, entries, bytes, expires_us) VALUES (?, ?, 0, 0, ?) "
    "RETURNING id",
    "UPDATE shelves SET entries = ?, bytes = ?, expires_us = ? WHERE id = ?",
    "DELETE FROM shelves WHERE id = ?",
    "SELECT LENGTH(value) FROM dict_entries WHERE shelf = ? AND key = ?",
    "INSERT INTO dict_entries VALUES (?, ?, ?, ?) ON CONFLICT (shelf, key) DO UPDATE SET "
    "format = excluded.format, value = excluded.value",
    "SELECT format, value FROM dict_entries WHERE shelf = ? AND key = ?",
    "DELETE FROM dict_entries WHERE shelf = ? AND key = ?",
    "INSERT INTO queue_items (shelf, format, value) VALUES (?, ?, ?)",
    "INSERT INTO queue_items (sequence, shelf, format, value) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING",
    "SELECT sequence, LENGTH(value) FROM queue_items WHERE shelf = ? ORDER BY sequence LIMIT ?",
    "SELECT sequence, format, value FROM queue_items WHERE shelf = ? AND sequence <= ? "
    "ORDER BY sequence",
    "DELETE FROM queue_items WHERE shelf = ? AND sequence <= ?",
    "SELECT id, entries, bytes, expires_us FROM shelves WHERE owner = 0 ORDER BY id LIMIT 1",
    "DELETE FROM dict_entries WHERE rowid IN "
    "(SELECT rowid FROM dict_entries WHERE shelf = ? LIMIT ?) RETURNING 1",
    "DELETE FROM queue_items WHERE sequence IN "
    "(SELECT sequence FROM queue_items WHERE shelf = ? LIMIT ?) RETURNING 1",
};

std::int64_t size_of(const SharedValue& value) {
  return static_cast<std::int64_t>(value.bytes.size());
}

SharedValue value_at(const Statement& row, int column) {
  return {static_cast<BodyFormat>(row.integer(column)), row.blob(column + 1)};
}

SharedAnswer counted(std::int64_t count) {
  SharedAnswer answer;
  answer.count = count;
  return answer;
}

}  // namespace

Result<SharedWriter> SharedWriter::prepare(Database& database) {
  static_assert(kTexts.size() == kStatements);
  std::vector<Statement> statements;
  for (const std::string_view text : kTexts) {
    auto statement = database.prepare(text);
    if (!statement) return std::move(statement).error();
    statements.push_back(std::move(statement).value());
  }
  return SharedWriter(std::move(statements));
}

Result<SharedAnswer> SharedWriter::apply(const SharedChange& change) {
  return std::visit([this](const auto& kind) { return apply_one(kind); }, change);
}

// --- both -------------------------------------------------------------------------------------

Result<SharedAnswer> SharedWriter::apply_one(const SharedRecord& record) {
  auto written =
      sql(kRecord).run(record.id.value, record.workspace.value, static_cast<int>(record.kind),
                       record.name, record.ephemeral, record.created.us);
  if (!written) return std::move(written).error();
  return counted(1);
}

Result<SharedAnswer> SharedWriter::apply_one(const ForgottenShared& forgotten) {
  if (auto there = check_there(forgotten.id); !there) return std::move(there).error();
  if (auto done = sql(kDisownAll).run(forgotten.id.value); !done) return std::move(done).error();
  if (auto done = sql(kForget).run(forgotten.id.value); !done) return std::move(done).error();
  return counted(1);
}

Result<SharedAnswer> SharedWriter::apply_one(const SharedClear& clear) {
  if (auto there = check_there(clear.id); !there) return std::move(there).error();
  auto done = clear.partition ? sql(kDisownPart).run(clear.id.value, *clear.partition)
                              : sql(kDisownAll).run(clear.id.value);
  if (!done) return std::move(done).error();
  return counted(1);
}

Result<> SharedWriter::check_there(SharedId id) {
  bool is_there = false;
  auto read = sql(kThere).each([&](Statement&) { is_there = true; }, id.value);
  if (!read || is_there) return read;
  return {ErrorCode::not_found, "it was deleted meanwhile"};
}

SharedWriter::Found SharedWriter::find_shelf(SharedId owner, const std::string& part) {
  std::optional<Shelf> found;
  auto read =
      sql(kFindShelf)
          .each(
              [&](Statement& row) {
                found = Shelf{row.integer(0), row.integer(1), row.integer(2), Time{row.integer(3)}};
              },
              owner.value, part);
  if (!read) return std::move(read).error();
  return found;
}

SharedWriter::Found SharedWriter::find_live_shelf(SharedId owner, const std::string& part,
                                                  Time now) {
  auto found = find_shelf(owner, part);
  if (!found || !*found || (*found)->expires > now) return found;
  if (auto done = sql(kDisown).run((*found)->id); !done) return std::move(done).error();
  return std::optional<Shelf>();
}

Result<SharedWriter::Shelf> SharedWriter::make_shelf(SharedId owner, const std::string& part,
                                                     Time expires) {
  std::int64_t there = 0;
  auto counted_shelves =
      sql(kCountShelves).each([&](Statement& row) { there = row.integer(0); }, owner.value);
  if (!counted_shelves) return std::move(counted_shelves).error();
  if (there >= kMaxPartitions) {
    return {ErrorCode::resource_exhausted,
            "the queue has " + std::to_string(kMaxPartitions) +
                " partitions with items already; take some, or clear it"};
  }
  Shelf shelf{.expires = expires};
  auto made =
      sql(kMakeShelf)
          .each([&](Statement& row) { shelf.id = row.integer(0); }, owner.value, part, expires.us);
  if (!made) return std::move(made).error();
  return shelf;
}

Result<> SharedWriter::keep(const Shelf& shelf) {
  if (shelf.entries == 0) return sql(kDropShelf).run(shelf.id);
  return sql(kKeepShelf).run(shelf.entries, shelf.bytes, shelf.expires.us, shelf.id);
}

// --- dictionaries -----------------------------------------------------------------------------

Result<SharedAnswer> SharedWriter::apply_one(const DictPut& put) {
  if (auto there = check_there(put.dict); !there) return std::move(there).error();
  auto found = find_shelf(put.dict, kWholeDict);
  if (!found) return std::move(found).error();
  auto shelf = *found ? Result<Shelf>(**found) : make_shelf(put.dict, kWholeDict, Time::never());
  if (!shelf) return std::move(shelf).error();
  std::int64_t count = 0;
  for (const SharedItem& entry : put.entries) {
    const auto is_put = put_entry(*shelf, entry, put.when_there);
    if (!is_put) return is_put.error();
    count += *is_put ? 1 : 0;
  }
  if (shelf->entries > kMaxDictEntries) {
    return {ErrorCode::resource_exhausted,
            "a dictionary has at most " + std::to_string(kMaxDictEntries) + " entries"};
  }
  if (auto kept = keep(*shelf); !kept) return std::move(kept).error();
  return counted(count);
}

Result<bool> SharedWriter::put_entry(Shelf& shelf, const SharedItem& entry, WhenThere when_there) {
  std::optional<std::int64_t> there_bytes;
  auto looked =
      sql(kSizeOfEntry)
          .each([&](Statement& row) { there_bytes = row.integer(0); }, shelf.id, entry.key);
  if (!looked) return std::move(looked).error();
  if (there_bytes && when_there == WhenThere::skip) return false;
  auto written = sql(kPutEntry).run(shelf.id, entry.key, static_cast<int>(entry.value.format),
                                    Blob{entry.value.bytes});
  if (!written) return std::move(written).error();
  shelf.entries += there_bytes ? 0 : 1;
  shelf.bytes += size_of(entry.value) - there_bytes.value_or(0);
  return true;
}

Result<SharedAnswer> SharedWriter::apply_one(const DictPop& pop) {
  if (auto there = check_there(pop.dict); !there) return std::move(there).error();
  auto shelf = find_shelf(pop.dict, kWholeDict);
  if (!shelf) return std::move(shelf).error();
  SharedAnswer answer;
  if (!*shelf) return answer;
  auto read = sql(kGetEntry).each(
      [&](Statement& row) {
        SharedItem& item = answer.items.emplace_back();
        item.key = pop.key;
        item.value = value_at(row, 0);
        item.size_bytes = size_of(item.value);
      },
      (*shelf)->id, pop.key);
  if (!read) return std::move(read).error();
  if (answer.items.empty()) return answer;
  auto dropped = sql(kDropEntry).run((*shelf)->id, pop.key);
  if (!dropped) return std::move(dropped).error();
  --(*shelf)->entries;
  (*shelf)->bytes -= answer.items[0].size_bytes;
  if (auto kept = keep(**shelf); !kept) return std::move(kept).error();
  return answer;
}

// --- queues -----------------------------------------------------------------------------------

Result<SharedAnswer> SharedWriter::apply_one(const QueuePut& put) {
  if (auto there = check_there(put.queue); !there) return std::move(there).error();
  auto found = find_live_shelf(put.queue, put.partition, put.now);
  if (!found) return std::move(found).error();
  const std::int64_t before = *found ? (*found)->entries : 0;
  if (before + static_cast<std::int64_t>(put.items.size()) > kMaxPartitionItems) {
    SharedAnswer answer = counted(before);
    answer.is_full = true;
    return answer;
  }
  auto shelf = *found ? Result<Shelf>(**found) : make_shelf(put.queue, put.partition, put.expires);
  if (!shelf) return std::move(shelf).error();
  for (const SharedValue& item : put.items) {
    auto written = sql(kPutItem).run(shelf->id, static_cast<int>(item.format), Blob{item.bytes});
    if (!written) return std::move(written).error();
    ++shelf->entries;
    shelf->bytes += size_of(item);
  }
  shelf->expires = put.expires;
  if (auto kept = keep(*shelf); !kept) return std::move(kept).error();
  return counted(shelf->entries);
}

Result<std::int64_t> SharedWriter::last_to_take(const Shelf& shelf, std::int64_t most) {
  std::int64_t last = 0, bytes = 0;
  auto read = sql(kSizesOfItems)
                  .each(
                      [&](Statement& row) {
                        bytes += row.integer(1);
                        if (last == 0 || bytes <= kMaxBytesAtOnce) last = row.integer(0);
                      },
                      shelf.id, most);
  if (!read) return std::move(read).error();
  return last;
}

Result<SharedAnswer> SharedWriter::apply_one(const QueueTake& take) {
  if (auto there = check_there(take.queue); !there) return std::move(there).error();
  auto shelf = find_live_shelf(take.queue, take.partition, take.now);
  if (!shelf) return std::move(shelf).error();
  SharedAnswer answer;
  if (!*shelf) return answer;
  const auto last = last_to_take(**shelf, take.most);
  if (!last) return last.error();
  auto read = sql(kTakeItems)
                  .each(
                      [&](Statement& row) {
                        SharedItem& item = answer.items.emplace_back();
                        item.sequence = row.integer(0);
                        item.value = value_at(row, 1);
                        item.size_bytes = size_of(item.value);
                        (*shelf)->bytes -= item.size_bytes;
                      },
                      (*shelf)->id, *last);
  if (!read) return std::move(read).error();
  if (auto dropped = sql(kDropItems).run((*shelf)->id, *last); !dropped) {
    return std::move(dropped).error();
  }
  (*shelf)->entries -= static_cast<std::int64_t>(answer.items.size());
  answer.expires = (*shelf)->expires;
  if (auto kept = keep(**shelf); !kept) return std::move(kept).error();
  return answer;
}

// No limit holds for them: they had room before.
Result<SharedAnswer> SharedWriter::apply_one(const QueueReturn& back) {
  if (auto there = check_there(back.queue); !there) return std::move(there).error();
  auto found = find_shelf(back.queue, back.partition);
  if (!found) return std::move(found).error();
  auto shelf =
      *found ? Result<Shelf>(**found) : make_shelf(back.queue, back.partition, back.expires);
  if (!shelf) return std::move(shelf).error();
  for (const SharedItem& item : back.items) {
    auto written = sql(kReturnItem)
                       .run(item.sequence, shelf->id, static_cast<int>(item.value.format),
                            Blob{item.value.bytes});
    if (!written) return std::move(written).error();
    ++shelf->entries;
    shelf->bytes += size_of(item.value);
  }
  if (auto kept = keep(*shelf); !kept) return std::move(kept).error();
  return counted(shelf->entries);
}

// --- sweeping ---------------------------------------------------------------------------------

Result<SharedAnswer> SharedWriter::apply_one(const SharedSweep& sweep) {
  auto over = sql(kOver).run(sweep.now.us, kMostDisownedAtOnce);
  if (!over) return std::move(over).error();
  const auto more = empty_some();
  if (!more) return more.error();
  return counted(*more ? 1 : 0);
}

// Of one shelf; whether there was one.
Result<bool> SharedWriter::empty_some() {
  std::optional<Shelf> shelf;
  auto found = sql(kToEmpty).each([&](Statement& row) {
    shelf = Shelf{row.integer(0), row.integer(1), row.integer(2), Time{row.integer(3)}};
  });
  if (!found) return std::move(found).error();
  if (!shelf) return false;
  const std::int64_t each_bytes = shelf->bytes / std::max<std::int64_t>(1, shelf->entries);
  const std::int64_t most = std::clamp<std::int64_t>(
      kMostBytesEmptiedAtOnce / std::max<std::int64_t>(1, each_bytes), 1, kMostEmptiedAtOnce);
  std::int64_t gone = 0;
  for (const Sql kind : {kEmptyEntries, kEmptyItems}) {
    auto emptied = sql(kind).each([&](Statement&) { ++gone; }, shelf->id, most);
    if (!emptied) return std::move(emptied).error();
  }
  if (gone > 0) return true;
  if (auto dropped = sql(kDropShelf).run(shelf->id); !dropped) return std::move(dropped).error();
  return true;
}

}  // namespace ember
