// What the store keeps of dictionaries and queues: changes that find out and decide in one step,
// and looks.
//
// A change is one of the store's writes: applied in the order in which it was asked for, whole or
// not at all, answered once it is on disk, sharing its commit with all that waits with it. Looks
// run beside the writes, on what is on disk, and wait for none of them. Answers come on a thread of
// the store's (the caller posts to its loop).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/ids.h"
#include "model/shared_state.h"
#include "model/workspace.h"

namespace ember {

// --- changes; all but the first say not_found for what is not there ---

// A dictionary or a queue. Nothing changes where it is there already.
struct SharedRecord {
  SharedId id;
  WorkspaceId workspace;
  SharedKind kind = SharedKind::dict;
  std::string name;
  bool ephemeral = false;
  Time created = {};
};

// With all that is in it.
struct ForgottenShared {
  SharedId id;
};

// All that is in it, or in one partition of it.
struct SharedClear {
  SharedId id;
  std::optional<std::string> partition = {};
};

// All of them, or none. The count is of those that were put.
struct DictPut {
  SharedId dict;
  std::vector<SharedItem> entries;
  WhenThere when_there = WhenThere::replace;
};

// The entry, if it was there.
struct DictPop {
  SharedId dict;
  std::string key;
};

// Behind those of the partition, which lasts until then: all of them, or, where it has no room for
// them, none. The count is of the partition's items then.
struct QueuePut {
  SharedId queue;
  std::string partition;
  std::vector<SharedValue> items;
  Time now, expires;
};

// The first ones of the partition, as many as there are, and at most so many.
struct QueueTake {
  SharedId queue;
  std::string partition;
  std::int64_t most = 1;
  Time now;
};

// Items that were taken and reached nobody: to where they were.
struct QueueReturn {
  SharedId queue;
  std::string partition;
  std::vector<SharedItem> items;
  Time expires;  // as the take told it
};

// Removes what is over or was cleared, some at a time. The count is 0 once nothing is left to do.
struct SharedSweep {
  Time now;
};

using SharedChange = std::variant<SharedRecord, ForgottenShared, SharedClear, DictPut, DictPop,
                                  QueuePut, QueueTake, QueueReturn, SharedSweep>;

// --- looks ---

// One entry, if it is there.
struct DictLook {
  SharedId dict;
  std::string key;
  Values values = Values::read;
};

// In the order of keys, from behind one.
struct DictPage {
  SharedId dict;
  std::string after = {};
  std::int64_t limit = 1000;
  Values values = Values::leave_out;
};

// In the order of the queue, from behind one.
struct QueuePage {
  SharedId queue;
  std::string partition = {};
  std::int64_t after = 0;
  std::int64_t limit = 1000;
  Values values = Values::leave_out;
  Time now;
};

// What each partition holds that has anything; a dictionary is one partition.
struct SharedCounts {
  SharedId id;
  std::optional<std::string> partition = {};  // of this one alone
  Time now;
};

// What all of a workspace hold, in the order of names, without a word on partitions.
struct SharedTotals {
  WorkspaceId workspace;
  SharedKind kind = SharedKind::dict;
  Time now;
};

using SharedQuery = std::variant<DictLook, DictPage, QueuePage, SharedCounts, SharedTotals>;

struct SharedCount {
  SharedId id;
  std::string partition = {};
  std::int64_t entries = 0, bytes = 0;
  Time expires = Time::never();
};

struct SharedAnswer {
  std::int64_t count = 0;
  bool is_full = false;  // of a QueuePut: there was no room
  Time expires = {};     // of a QueueTake: when the partition does
  std::vector<SharedItem> items = {};
  std::vector<SharedCount> counts = {};
  bool has_more = false;  // of a page: others follow
};

class SharedStore {
 public:
  using Done = std::function<void(Result<SharedAnswer>)>;

  virtual ~SharedStore() = default;
  virtual void change(SharedChange change, Done done) = 0;
  virtual void look(SharedQuery query, Done done) = 0;
};

}  // namespace ember
