#include "control/shared_states.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "model/function.h"

namespace ember {
namespace {

constexpr std::size_t kMaxShared = 10'000;
constexpr std::size_t kMaxRequest = 64u << 10;
constexpr std::size_t kMaxChanges = 50'000;          // on their way to the disk
constexpr std::size_t kMaxChangeBytes = 256u << 20;  // of these
constexpr std::size_t kMaxAnswerBytes = 256u << 20;  // of values that clients have not taken yet
constexpr std::size_t kMaxGetters = 50'000;          // that wait for items
constexpr Duration kLease = Duration::seconds(30);   // an ephemeral one lives on heartbeats
constexpr Duration kSweepEvery = Duration::seconds(60);
constexpr Duration kSweepPause = Duration::milliseconds(5);  // for other writes

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

Error going_down() {
  return {ErrorCode::unavailable, "the server is going down; try again once it is up again"};
}

std::string word_of(SharedKind kind) { return std::string(shared_kind_name(kind)); }

JsonValue to_json(const SharedRecord& record) {
  return {{"name", record.name},
          {"ephemeral", record.ephemeral},
          {"created_ms", record.created.whole_ms()}};
}

const char* count_name(SharedKind kind) { return kind == SharedKind::dict ? "entries" : "items"; }

JsonValue to_json(const SharedRecord& record, const std::vector<SharedCount>& counts) {
  JsonValue document = to_json(record);
  std::int64_t entries = 0, bytes = 0;
  JsonValue partitions = JsonValue::array();
  for (const SharedCount& count : counts) {
    entries += count.entries;
    bytes += count.bytes;
    partitions.push_back({{"partition", count.partition},
                          {"items", count.entries},
                          {"size_bytes", count.bytes},
                          {"expires_ms", count.expires.whole_ms()}});
  }
  document[count_name(record.kind)] = entries;
  document["size_bytes"] = bytes;
  if (record.kind == SharedKind::queue) document["partitions"] = std::move(partitions);
  return document;
}

std::size_t size_of(const std::vector<SharedItem>& items) {
  std::size_t size = 0;
  for (const SharedItem& item : items) size += item.key.size() + item.value.bytes.size();
  return size;
}

Result<> check_entries(const std::vector<SharedItem>& entries) {
  for (const SharedItem& entry : entries) {
    if (auto fine = check_dict_key(entry.key); !fine) return fine;
    auto fine = check_shared_value(SharedKind::dict, entry.value.bytes.size());
    if (!fine) return fine;
  }
  return Ok{};
}

Result<> check_items(const std::vector<SharedItem>& items) {
  for (const SharedItem& item : items) {
    auto fine = check_shared_value(SharedKind::queue, item.value.bytes.size());
    if (!fine) return fine;
  }
  return Ok{};
}

// What a page begins behind, of a queue.
Result<std::int64_t> parse_sequence(const std::string& text) {
  std::int64_t sequence = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), sequence);
  const bool fine = error == std::errc() && end == text.data() + text.size();
  if (text.empty() || (fine && sequence >= 0)) return sequence;
  return invalid("after must be the sequence of an item");
}

}  // namespace

CallFailure partition_is_full() {
  return {{ErrorCode::resource_exhausted, "the partition has no room: it holds at most " +
                                              std::to_string(kMaxPartitionItems) +
                                              " items; take some first"},
          {},
          1,
          {"partition_items", kMaxPartitionItems}};
}

SharedStates::SharedStates(EngineDriver& driver, Store& store, Background& background,
                           IdSource& ids, const KeyRing& keys)
    : driver_(driver),
      store_(store),
      background_(background),
      ids_(ids),
      keys_(keys),
      lines_(driver, store, background) {}

void SharedStates::restore(const std::vector<SharedRecord>& records) {
  for (const SharedRecord& record : records) {
    Shared& shared = all_[{record.workspace, record.kind, record.name}];
    shared.record = record;
    if (record.ephemeral) keep_lease(shared);
  }
  sweep_again_later();
}

void SharedStates::leave_waiting() {
  is_leaving_ = true;
  lines_.fail_all(going_down());
}

WorkspaceId SharedStates::workspace_of(KeyId key) const {
  const KeyRecord* record = keys_.find(key);
  return record ? record->workspace : WorkspaceId{};
}

Result<SharedId> SharedStates::find(const SharedName& name) const {
  const auto found = all_.find({name.workspace, name.kind, name.name});
  if (found != all_.end()) return found->second.record.id;
  const std::string kind = word_of(name.kind), shown = name.name.substr(0, 64);
  return {ErrorCode::not_found, "there is no " + kind + " " + shown + "; make it with `ember " +
                                    kind + " create " + shown + "`"};
}

// --- on the way to the store ------------------------------------------------------------------

Result<> SharedStates::admit(std::size_t bytes) const {
  if (changes_ < kMaxChanges && change_bytes_ + bytes <= kMaxChangeBytes) return Ok{};
  return {ErrorCode::resource_exhausted, "the disk has to catch up: " + std::to_string(changes_) +
                                             " changes of " + std::to_string(change_bytes_) +
                                             " bytes are on their way to it; try again"};
}

void SharedStates::change(SharedChange wanted, std::size_t bytes, OnAnswer done) {
  ++changes_;
  change_bytes_ += bytes;
  store_.shared().change(
      std::move(wanted),
      background_.to_loop([this, bytes, done = std::move(done)](Result<SharedAnswer> answer) {
        --changes_;
        change_bytes_ -= bytes;
        done(std::move(answer));
      }));
}

void SharedStates::look(SharedQuery query, OnAnswer done) {
  store_.shared().look(std::move(query), background_.to_loop(std::move(done)));
}

Result<> SharedStates::has_room_for_answers(std::size_t bytes) const {
  if (*answer_bytes_ + bytes <= kMaxAnswerBytes) return Ok{};
  return {ErrorCode::resource_exhausted,
          "values of " + std::to_string(*answer_bytes_) +
              " bytes are on their way to clients, who have to take them first; try again"};
}

SharedItems SharedStates::as_items(SharedAnswer answer) {
  const std::size_t bytes = size_of(answer.items);
  *answer_bytes_ += bytes;
  std::shared_ptr<void> counted(nullptr, [all = answer_bytes_, bytes](void*) { *all -= bytes; });
  return {std::move(answer.items), answer.has_more, std::move(counted)};
}

// --- making, showing and removing -------------------------------------------------------------

void SharedStates::list(WorkspaceId workspace, SharedKind kind, Done done) {
  look(SharedTotals{workspace, kind, driver_.now()},
       [this, workspace, kind, done = std::move(done)](const Result<SharedAnswer>& answer) {
         if (!answer) return done(answer.error());
         std::map<SharedId, SharedCount> counts;
         for (const SharedCount& count : answer->counts) counts[count.id] = count;
         JsonValue list = JsonValue::array();
         for (auto one = all_.lower_bound({workspace, kind, ""}); one != all_.end(); ++one) {
           const SharedRecord& record = one->second.record;
           if (record.workspace != workspace || record.kind != kind) break;
           JsonValue document = to_json(record);
           document[count_name(kind)] = counts[record.id].entries;
           document["size_bytes"] = counts[record.id].bytes;
           list.push_back(std::move(document));
         }
         done(dump_json({{word_of(kind) + "s", std::move(list)}}));
       });
}

void SharedStates::create(WorkspaceId workspace, SharedKind kind, std::string request_json,
                          Done done) {
  auto document = parse_json(request_json, "the request", kMaxRequest);
  if (!document) return done(std::move(document).error());
  Fields fields(*document, "");
  SharedRecord record{.id = SharedId{ids_.next(driver_.now())},
                      .workspace = workspace,
                      .kind = kind,
                      .name = fields.text("name"),
                      .ephemeral = fields.flag_or("ephemeral", false),
                      .created = driver_.now()};
  const bool may_exist = fields.flag_or("may_exist", false);
  if (auto read = fields.finish(); !read) return done(std::move(read).error());
  if (auto named = check_name(shared_kind_name(kind), record.name); !named) {
    return done(std::move(named).error());
  }
  const Key key{workspace, kind, record.name};
  if (const auto found = all_.find(key); found != all_.end()) {
    if (may_exist) return done(dump_json(to_json(found->second.record)));
    return done(
        {ErrorCode::conflict, "there is a " + word_of(kind) + " " + record.name + " already"});
  }
  if (all_.size() >= kMaxShared) {
    return done({ErrorCode::resource_exhausted, "there are " + std::to_string(kMaxShared) +
                                                    " dicts and queues already; delete some"});
  }
  // Its name is taken from now on, before it is on disk; what is put comes after it there.
  Shared& shared = all_[key];
  shared.record = record;
  if (record.ephemeral) keep_lease(shared);
  change(record, 0, [this, key, record, done = std::move(done)](const Result<SharedAnswer>& kept) {
    if (kept) return done(dump_json(to_json(record)));
    const auto made = all_.find(key);
    if (made != all_.end() && made->second.record.id == record.id) all_.erase(made);
    done(kept.error());
  });
}

void SharedStates::show(SharedName name, std::optional<std::string> partition, Done done) {
  const auto id = find(name);
  if (!id) return done(id.error());
  const SharedRecord record = all_.at({name.workspace, name.kind, name.name}).record;
  look(SharedCounts{*id, std::move(partition), driver_.now()},
       [record, done = std::move(done)](const Result<SharedAnswer>& answer) {
         if (!answer) return done(answer.error());
         done(dump_json(to_json(record, answer->counts)));
       });
}

void SharedStates::remove(SharedName name, Done done) {
  const auto id = find(name);
  if (!id) return done(id.error());
  change(ForgottenShared{*id}, 0,
         [this, name, id = *id, done = std::move(done)](const Result<SharedAnswer>& gone) {
           if (!gone) return done(gone.error());
           const auto found = all_.find({name.workspace, name.kind, name.name});
           if (found != all_.end() && found->second.record.id == id) all_.erase(found);
           lines_.fail(id, {ErrorCode::not_found, "the queue " + name.name + " was deleted"});
           sweep();
           done(dump_json({{"name", name.name}}));
         });
}

void SharedStates::clear(SharedName name, std::optional<std::string> partition, Done done) {
  const auto id = find(name);
  if (!id) return done(id.error());
  change(SharedClear{*id, std::move(partition)}, 0,
         [this, name, done = std::move(done)](const Result<SharedAnswer>& cleared) {
           if (!cleared) return done(cleared.error());
           sweep();
           done(dump_json({{"name", name.name}}));
         });
}

Result<> SharedStates::heartbeat(const SharedName& name) {
  if (auto id = find(name); !id) return std::move(id).error();
  Shared& shared = all_.at({name.workspace, name.kind, name.name});
  if (shared.record.ephemeral) keep_lease(shared);
  return Ok{};
}

void SharedStates::keep_lease(Shared& shared) {
  shared.lease_ends = driver_.now() + kLease;
  driver_.after(kLease, [this] { check_leases(); });
}

void SharedStates::check_leases() {
  std::vector<SharedName> over;
  for (const auto& [key, shared] : all_) {
    if (shared.lease_ends > driver_.now()) continue;
    over.push_back({shared.record.workspace, shared.record.kind, shared.record.name});
  }
  for (const SharedName& name : over) {
    remove(name, [this](const Result<std::string>& removed) {
      const bool again = !removed && removed.error().code != ErrorCode::not_found;
      if (again) driver_.after(kLease, [this] { check_leases(); });
    });
  }
}

// --- what lies in them ------------------------------------------------------------------------

void SharedStates::page(SharedPage wanted, OnItems done) {
  const auto id = find(wanted.of);
  if (!id) return done(id.error());
  if (wanted.limit < 1 || wanted.limit > kMaxItemsAtOnce) {
    return done(invalid("limit is not a number from 1 to " + std::to_string(kMaxItemsAtOnce)));
  }
  OnAnswer tell = [this, done = std::move(done)](Result<SharedAnswer> answer) {
    if (!answer) return done(answer.error());
    auto room = has_room_for_answers(size_of(answer->items));
    if (!room) return done(std::move(room).error());
    done(as_items(std::move(answer).value()));
  };
  if (wanted.of.kind == SharedKind::dict) {
    return look(DictPage{*id, std::move(wanted.after), wanted.limit, wanted.values},
                std::move(tell));
  }
  if (auto fine = check_partition(wanted.partition); !fine) return tell(std::move(fine).error());
  const auto after = parse_sequence(wanted.after);
  if (!after) return tell(after.error());
  look(QueuePage{*id, std::move(wanted.partition), *after, wanted.limit, wanted.values,
                 driver_.now()},
       std::move(tell));
}

void SharedStates::put(SharedName dict, std::vector<SharedItem> entries, WhenThere when_there,
                       std::function<void(Result<std::int64_t>)> done) {
  const auto id = find(dict);
  if (!id) return done(id.error());
  if (auto fine = check_entries(entries); !fine) return done(std::move(fine).error());
  const std::size_t bytes = size_of(entries);
  if (auto room = admit(bytes); !room) return done(std::move(room).error());
  change(DictPut{*id, std::move(entries), when_there}, bytes,
         [done = std::move(done)](const Result<SharedAnswer>& answer) {
           done(answer ? Result<std::int64_t>(answer->count) : answer.error());
         });
}

void SharedStates::get(SharedName dict, std::string key, Values values, OnItems done) {
  const auto id = find(dict);
  if (!id) return done(id.error());
  if (auto fine = check_dict_key(key); !fine) return done(std::move(fine).error());
  look(DictLook{*id, std::move(key), values},
       [this, done = std::move(done)](Result<SharedAnswer> answer) {
         if (!answer) return done(answer.error());
         auto room = has_room_for_answers(size_of(answer->items));
         if (!room) return done(std::move(room).error());
         done(as_items(std::move(answer).value()));
       });
}

void SharedStates::pop(SharedName dict, std::string key, OnItems done) {
  const auto id = find(dict);
  if (!id) return done(id.error());
  if (auto fine = check_dict_key(key); !fine) return done(std::move(fine).error());
  if (auto room = admit(0); !room) return done(std::move(room).error());
  if (auto room = has_room_for_answers(0); !room) return done(std::move(room).error());
  change(DictPop{*id, std::move(key)}, 0,
         [this, done = std::move(done)](Result<SharedAnswer> answer) {
           if (!answer) return done(answer.error());
           done(as_items(std::move(answer).value()));
         });
}

void SharedStates::put_items(QueuePutRequest request,
                             std::function<void(Result<QueuePutOutcome>)> done) {
  const auto id = find(request.queue);
  if (!id) return done(id.error());
  if (auto fine = check_partition(request.partition); !fine) {
    return done(std::move(fine).error());
  }
  if (request.time_to_live.us <= 0 || request.time_to_live > kMaxPartitionTtl) {
    return done(invalid("a partition lasts more than 0 and at most 7 days after its last put"));
  }
  if (auto fine = check_items(request.items); !fine) return done(std::move(fine).error());
  const std::size_t bytes = size_of(request.items);
  if (auto room = admit(bytes); !room) return done(std::move(room).error());
  QueuePut put{*id, request.partition, {}, driver_.now(), driver_.now() + request.time_to_live};
  for (SharedItem& item : request.items) put.items.push_back(std::move(item.value));
  change(std::move(put), bytes, [done = std::move(done)](const Result<SharedAnswer>& answer) {
    if (!answer) return done(answer.error());
    done(QueuePutOutcome{answer->is_full, answer->count});
  });
  lines_.wake(*id, request.partition);
}

std::shared_ptr<void> SharedStates::take(QueueTakeRequest request, OnItems done) {
  const auto id = find(request.queue);
  if (!id) return done(id.error()), nullptr;
  if (is_leaving_) return done(going_down()), nullptr;
  if (auto fine = check_partition(request.partition); !fine) {
    return done(std::move(fine).error()), nullptr;
  }
  if (request.most < 1 || request.most > kMaxItemsAtOnce) {
    return done(invalid("a take is of 1 to " + std::to_string(kMaxItemsAtOnce) + " items")),
           nullptr;
  }
  if (lines_.waiting() >= kMaxGetters) {
    return done({ErrorCode::resource_exhausted,
                 std::to_string(kMaxGetters) + " wait for items already; try again later"}),
           nullptr;
  }
  const Duration patience = std::clamp(request.patience, Duration{}, kMaxPatience);
  return lines_.stand(*id, request.partition, {request.most, patience}, std::move(done));
}

// --- sweeping ---------------------------------------------------------------------------------

void SharedStates::sweep() {
  if (std::exchange(is_sweeping_, true)) return;
  change(SharedSweep{driver_.now()}, 0, [this](const Result<SharedAnswer>& answer) {
    is_sweeping_ = false;
    if (!answer) spdlog::warn("what is over was not swept: {}", answer.error().message);
    if (answer && answer->count > 0) driver_.after(kSweepPause, [this] { sweep(); });
  });
}

void SharedStates::sweep_again_later() {
  sweep();
  driver_.after(kSweepEvery, [this] { sweep_again_later(); });
}

}  // namespace ember
