// Changes of dictionaries and queues, within the transaction of whoever applies them.
#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "store/shared_store.h"
#include "store/sqlite.h"

namespace ember {

class SharedWriter {
 public:
  static Result<SharedWriter> prepare(Database& database);

  // not_found, resource_exhausted and conflict are of the change alone; after all else nothing more
  // can be written in this transaction.
  Result<SharedAnswer> apply(const SharedChange& change);

 private:
  struct Shelf {
    std::int64_t id = 0;
    std::int64_t entries = 0, bytes = 0;
    Time expires = Time::never();
  };
  using Found = Result<std::optional<Shelf>>;

  Result<SharedAnswer> apply_one(const SharedRecord& record);
  Result<SharedAnswer> apply_one(const ForgottenShared& forgotten);
  Result<SharedAnswer> apply_one(const SharedClear& clear);
  Result<SharedAnswer> apply_one(const DictPut& put);
  Result<SharedAnswer> apply_one(const DictPop& pop);
  Result<SharedAnswer> apply_one(const QueuePut& put);
  Result<SharedAnswer> apply_one(const QueueTake& take);
  Result<SharedAnswer> apply_one(const QueueReturn& back);
  Result<SharedAnswer> apply_one(const SharedSweep& sweep);

  Result<> check_there(SharedId id);
  Found find_shelf(SharedId owner, const std::string& part);
  // Nothing where it is over: it is disowned.
  Found find_live_shelf(SharedId owner, const std::string& part, Time now);
  Result<Shelf> make_shelf(SharedId owner, const std::string& part, Time expires);
  Result<> keep(const Shelf& shelf);
  // Whether it was put, which it is not where it is there already and to be skipped.
  Result<bool> put_entry(Shelf& shelf, const SharedItem& entry, WhenThere when_there);
  // The sequence of the last of the first ones that are not too large together.
  Result<std::int64_t> last_to_take(const Shelf& shelf, std::int64_t most);
  Result<bool> empty_some();

  enum Sql : std::size_t {
    kRecord,
    kForget,
    kThere,
    kDisownAll,
    kDisownPart,
    kDisown,
    kOver,
    kFindShelf,
    kCountShelves,
    kMakeShelf,
    kKeepShelf,
    kDropShelf,
    kSizeOfEntry,
    kPutEntry,
    kGetEntry,
    kDropEntry,
    kPutItem,
    kReturnItem,
    kSizesOfItems,
    kTakeItems,
    kDropItems,
    kToEmpty,
    kEmptyEntries,
    kEmptyItems,
    kStatements
  };
  explicit SharedWriter(std::vector<Statement> statements) : statements_(std::move(statements)) {}
  Statement& sql(Sql which) { return statements_[which]; }

  std::vector<Statement> statements_;
};

}  // namespace ember
