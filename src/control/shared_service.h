// Dictionaries and queues, as the gateway and code in containers see them. Documents are those of
// docs/reference/http.md. All of it runs on the loop's thread, and `done` once on it, possibly
// before the call returns. What is changed is on disk when that is told.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/control.h"
#include "model/shared_state.h"
#include "model/workspace.h"

namespace ember {

struct SharedName {
  WorkspaceId workspace;
  SharedKind kind = SharedKind::dict;
  std::string name;
};

struct SharedPage {
  SharedName of;
  std::string partition = {};  // of a queue
  std::string after = {};      // a key, or a sequence in decimal; empty: from the first on
  std::int64_t limit = 1000;   // at most kMaxItemsAtOnce
  Values values = Values::leave_out;
};

struct SharedItems {
  std::vector<SharedItem> items = {};
  bool has_more = false;
  // The memory that the values take is counted until whoever has them lets go of this.
  std::shared_ptr<void> counted = {};
};

struct QueuePutRequest {
  SharedName queue;
  std::string partition = {};
  std::vector<SharedItem> items;
  Duration time_to_live = kPartitionTtl;  // of the partition, from now on
};

struct QueuePutOutcome {
  bool is_full = false;    // nothing was put
  std::int64_t items = 0;  // in the partition
};

// How a full partition is told, with its limit.
CallFailure partition_is_full();

struct QueueTakeRequest {
  SharedName queue;
  std::string partition = {};
  std::int64_t most = 1;
  Duration patience = {};  // to wait for the first one
};
inline constexpr Duration kMaxPatience = Duration::seconds(60);

class SharedService {
 public:
  using Done = std::function<void(Result<std::string>)>;  // with a document
  using OnItems = std::function<void(Result<SharedItems>)>;

  virtual ~SharedService() = default;
  virtual WorkspaceId workspace_of(KeyId key) const = 0;

  virtual void list(WorkspaceId workspace, SharedKind kind, Done done) = 0;
  virtual void create(WorkspaceId workspace, SharedKind kind, std::string request_json,
                      Done done) = 0;
  // With a partition: what is in that one alone.
  virtual void show(SharedName name, std::optional<std::string> partition, Done done) = 0;
  virtual void remove(SharedName name, Done done) = 0;
  virtual void clear(SharedName name, std::optional<std::string> partition, Done done) = 0;
  virtual Result<> heartbeat(const SharedName& name) = 0;  // keeps an ephemeral one
  virtual void page(SharedPage page, OnItems done) = 0;

  // How many were put: all of them, but for those that are there and to be skipped.
  virtual void put(SharedName dict, std::vector<SharedItem> entries, WhenThere when_there,
                   std::function<void(Result<std::int64_t>)> done) = 0;
  // One item, or none where there is no such key.
  virtual void get(SharedName dict, std::string key, Values values, OnItems done) = 0;
  virtual void pop(SharedName dict, std::string key, OnItems done) = 0;

  virtual void put_items(QueuePutRequest request,
                         std::function<void(Result<QueuePutOutcome>)> done) = 0;
  // The next items of the partition, none once patience is over. Who waits is served in turn; who
  // lets go of what is returned before the answer does not want it any more, and nothing is lost.
  [[nodiscard]] virtual std::shared_ptr<void> take(QueueTakeRequest request, OnItems done) = 0;
};

}  // namespace ember
