// The SQLite store: one thread owns the database and takes work from a queue in order. All writes
// that wait when it comes to them go into one transaction, so that one fsync makes many durable.
// Looks at dictionaries and queues have a thread of their own.
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>

#include "base/disk_error.h"
#include "store/lock_file.h"
#include "store/migrations.h"
#include "store/read_thread.h"
#include "store/reads.h"
#include "store/shared_reads.h"
#include "store/shared_writes.h"
#include "store/sqlite.h"
#include "store/store.h"
#include "store/webhook_rows.h"
#include "store/writes.h"

namespace ember {
namespace {

constexpr std::size_t kMaxWritesPerCommit = 1024;

struct PendingWrite {
  std::function<Result<>()> write;  // within the transaction
  std::function<void(Result<>)> done;
};
using Query = std::function<void(Database&)>;
using Work = std::variant<PendingWrite, Query>;

// What a write may clash with is its own trouble; all else is that of the database.
bool is_of_the_write_alone(ErrorCode code) {
  return code == ErrorCode::conflict || code == ErrorCode::not_found ||
         code == ErrorCode::resource_exhausted;
}

// What the store has at its start.
struct Connections {
  Database database;
  Database reader;
  Writer writer;
  SharedWriter shared_writer;
  Statement epoch_query;
};

class SqliteStore final : public Store, public SharedStore {
 public:
  SqliteStore(LockFile lock, Connections connections, std::int64_t epoch)
      : lock_(std::move(lock)),
        database_(std::move(connections.database)),
        writer_(std::move(connections.writer)),
        shared_writer_(std::move(connections.shared_writer)),
        epoch_query_(std::move(connections.epoch_query)),
        epoch_(epoch),
        reader_(std::move(connections.reader)),
        thread_([this] { run(); }) {}

  ~SqliteStore() override {
    {
      const std::lock_guard guard(mutex_);
      closing_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  void apply(Batch batch, std::function<void(Result<>)> done) override {
    enqueue(PendingWrite{[this, batch = std::move(batch)] { return writer_.write(batch); },
                         std::move(done)});
  }
  void query_cost(CostQuery query,
                  std::function<void(Result<std::vector<CostRow>>)> done) override {
    enqueue(Query([query = std::move(query), done = std::move(done)](Database& database) {
      done(read_cost(database, query));
    }));
  }
  void query_versions(AppId app,
                      std::function<void(Result<std::vector<VersionRecord>>)> done) override {
    enqueue(Query(
        [app, done = std::move(done)](Database& database) { done(read_versions(database, app)); }));
  }
  void query_version(AppId app, std::uint32_t version,
                     std::function<void(Result<VersionRecord>)> done) override {
    enqueue(Query([app, version, done = std::move(done)](Database& database) {
      done(read_version(database, app, version));
    }));
  }
  void query_call(CallId call, std::function<void(Result<StoredCall>)> done) override {
    enqueue(Query(
        [call, done = std::move(done)](Database& database) { done(read_call(database, call)); }));
  }
  void query_call_by_key(WorkspaceId workspace, std::string idempotency_key,
                         std::function<void(Result<StoredCall>)> done) override {
    enqueue(Query([workspace, idempotency_key = std::move(idempotency_key),
                   done = std::move(done)](Database& database) {
      done(read_call_by_key(database, workspace, idempotency_key));
    }));
  }
  void query_calls(CallQuery query,
                   std::function<void(Result<std::vector<StoredCall>>)> done) override {
    enqueue(Query([query = std::move(query), done = std::move(done)](Database& database) {
      done(read_calls(database, query));
    }));
  }
  void query_waiting_webhooks(
      WaitingWebhooks query,
      std::function<void(Result<std::vector<StoredWebhook>>)> done) override {
    enqueue(Query([query = std::move(query), done = std::move(done)](Database& database) {
      done(read_waiting_webhooks(database, query));
    }));
  }
  void query_webhooks(WebhookQuery query,
                      std::function<void(Result<std::vector<StoredWebhook>>)> done) override {
    enqueue(Query([query, done = std::move(done)](Database& database) {
      done(read_webhooks(database, query));
    }));
  }
  void query_webhook(WebhookId webhook, std::function<void(Result<StoredWebhook>)> done) override {
    enqueue(Query([webhook, done = std::move(done)](Database& database) {
      done(read_webhook(database, webhook));
    }));
  }
  void query_children(std::vector<CallId> parents, std::size_t limit,
                      std::function<void(Result<std::vector<StoredCall>>)> done) override {
    enqueue(Query([parents = std::move(parents), limit, done = std::move(done)](
                      Database& database) { done(read_children(database, parents, limit)); }));
  }
  void query_container(ContainerId container,
                       std::function<void(Result<ContainerRecord>)> done) override {
    enqueue(Query([container, done = std::move(done)](Database& database) {
      done(read_container(database, container));
    }));
  }

  // --- SharedStore ---
  SharedStore& shared() override { return *this; }
  void change(SharedChange change, Done done) override {
    // Shared by the two steps, of which the second comes once the first is on disk.
    const auto answer = std::make_shared<SharedAnswer>();
    enqueue(PendingWrite{[this, answer, change = std::move(change)]() -> Result<> {
                           auto applied = shared_writer_.apply(change);
                           if (!applied) return std::move(applied).error();
                           *answer = std::move(applied).value();
                           return Ok{};
                         },
                         [answer, done = std::move(done)](const Result<>& written) {
                           if (written) return done(std::move(*answer));
                           done(written.error());
                         }});
  }
  void look(SharedQuery query, Done done) override {
    reader_.ask([query = std::move(query), done = std::move(done)](Database& database) {
      done(read_shared(database, query));
    });
  }

 private:
  void enqueue(Work work) {
    {
      const std::lock_guard guard(mutex_);
      queue_.push_back(std::move(work));
    }
    wake_.notify_one();
  }

  void run() {
    for (auto waiting = take(); !waiting.empty(); waiting = take()) {
      while (!waiting.empty()) work_off(waiting);
    }
  }

  // All that waits, in order; empty only when the store closes.
  std::deque<Work> take() {
    std::unique_lock guard(mutex_);
    wake_.wait(guard, [this] { return closing_ || !queue_.empty(); });
    return std::exchange(queue_, {});
  }

  void work_off(std::deque<Work>& waiting) {
    if (auto* query = std::get_if<Query>(&waiting.front())) {
      (*query)(database_);
      waiting.pop_front();
      return;
    }
    std::vector<PendingWrite> group;
    while (!waiting.empty() && group.size() < kMaxWritesPerCommit) {
      auto* pending = std::get_if<PendingWrite>(&waiting.front());
      if (!pending) break;
      group.push_back(std::move(*pending));
      waiting.pop_front();
    }
    commit(group);
  }

  // A write that clashes with the state fails alone; a disk that fails fails all of the group.
  void commit(std::vector<PendingWrite>& group) {
    std::vector<Result<>> results;
    auto committed = write_group(group, results);
    if (!committed) database_.roll_back();
    for (std::size_t i = 0; i < group.size(); ++i) {
      group[i].done(committed ? std::move(results[i]) : committed);
    }
  }

  Result<> write_group(const std::vector<PendingWrite>& group, std::vector<Result<>>& results) {
    if (auto begun = database_.execute("BEGIN IMMEDIATE"); !begun) return begun;
    if (auto ours = check_epoch(); !ours) return ours;
    for (const PendingWrite& pending : group) {
      auto written = write_one(pending);
      if (!written && !is_of_the_write_alone(written.error().code)) return written;
      results.push_back(std::move(written));
    }
    return database_.execute("COMMIT");
  }

  Result<> write_one(const PendingWrite& pending) {
    if (auto set = database_.execute("SAVEPOINT one"); !set) return set;
    auto written = pending.write();
    if (!written) {
      auto undone = database_.execute("ROLLBACK TO one");
      // A disk that is full may have ended the transaction; then its own word is the cause.
      if (!undone) return is_of_the_write_alone(written.error().code) ? undone : written;
    }
    auto released = database_.execute("RELEASE one");
    return released ? std::move(written) : std::move(released);
  }

  // The lock keeps other servers out; this keeps us out where somebody removed the lock's file.
  Result<> check_epoch() {
    std::int64_t epoch = 0;
    auto read = epoch_query_.each([&](Statement& row) { epoch = row.integer(0); });
    if (!read || epoch == epoch_) return read;
    return {ErrorCode::unavailable, "another server has taken over this data directory"};
  }

  LockFile lock_;
  Database database_;
  Writer writer_;
  SharedWriter shared_writer_;
  Statement epoch_query_;
  const std::int64_t epoch_;
  ReadThread reader_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Work> queue_;  // guarded by mutex_
  bool closing_ = false;    // guarded by mutex_
  std::thread thread_;      // last: it starts when all else stands
};

Result<std::int64_t> advance_epoch(Database& database) {
  auto query = database.prepare("UPDATE writer SET epoch = epoch + 1 RETURNING epoch");
  if (!query) return std::move(query).error();
  std::int64_t epoch = 0;
  auto advanced = query->each([&](Statement& row) { epoch = row.integer(0); });
  if (!advanced) return std::move(advanced).error();
  return epoch;
}

Result<> make_directory(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return disk_error(directory, error.value());
  return Ok{};
}

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& directory, Snapshot& snapshot) {
  if (auto made = make_directory(directory); !made) return std::move(made).error();
  auto lock = LockFile::take(directory);
  if (!lock) return std::move(lock).error();
  auto database = Database::open(directory + "/state.db");
  if (!database) return std::move(database).error();
  if (auto done = migrate(*database, newest_schema()); !done) return std::move(done).error();
  const auto epoch = advance_epoch(*database);
  if (!epoch) return epoch.error();
  snapshot = {};
  snapshot.epoch = static_cast<std::uint32_t>(*epoch);
  if (auto read = read_snapshot(*database, snapshot); !read) return std::move(read).error();
  auto writer = Writer::prepare(*database);
  if (!writer) return std::move(writer).error();
  auto shared_writer = SharedWriter::prepare(*database);
  if (!shared_writer) return std::move(shared_writer).error();
  auto epoch_query = database->prepare("SELECT epoch FROM writer");
  if (!epoch_query) return std::move(epoch_query).error();
  auto reader = Database::open_to_read(directory + "/state.db");
  if (!reader) return std::move(reader).error();
  Connections connections{std::move(database).value(), std::move(reader).value(),
                          std::move(writer).value(), std::move(shared_writer).value(),
                          std::move(epoch_query).value()};
  return std::unique_ptr<Store>(
      std::make_unique<SqliteStore>(std::move(lock).value(), std::move(connections), *epoch));
}

}  // namespace ember
