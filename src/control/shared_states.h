// Dictionaries and queues, live. Their names are known here; what lies in them is on disk alone, so
// that memory holds no more than what is on its way. The store decides each change in one step
// (store/shared_store.h); who waits for an item stands in QueueLines.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "control/background.h"
#include "control/engine_driver.h"
#include "control/id_source.h"
#include "control/json.h"
#include "control/key_ring.h"
#include "control/queue_lines.h"
#include "control/shared_service.h"
#include "store/store.h"

namespace ember {

class SharedStates final : public SharedService {
 public:
  SharedStates(EngineDriver& driver, Store& store, Background& background, IdSource& ids,
               const KeyRing& keys);

  // At start: those that there are.
  void restore(const std::vector<SharedRecord>& records);
  // At a drain: nobody waits for an item any more, and nobody takes one.
  void leave_waiting();
  bool is_settled() const { return lines_.is_settled(); }

  WorkspaceId workspace_of(KeyId key) const override;
  void list(WorkspaceId workspace, SharedKind kind, Done done) override;
  void create(WorkspaceId workspace, SharedKind kind, std::string request_json, Done done) override;
  void show(SharedName name, std::optional<std::string> partition, Done done) override;
  void remove(SharedName name, Done done) override;
  void clear(SharedName name, std::optional<std::string> partition, Done done) override;
  Result<> heartbeat(const SharedName& name) override;
  void page(SharedPage wanted, OnItems done) override;
  void put(SharedName dict, std::vector<SharedItem> entries, WhenThere when_there,
           std::function<void(Result<std::int64_t>)> done) override;
  void get(SharedName dict, std::string key, Values values, OnItems done) override;
  void pop(SharedName dict, std::string key, OnItems done) override;
  void put_items(QueuePutRequest request,
                 std::function<void(Result<QueuePutOutcome>)> done) override;
  std::shared_ptr<void> take(QueueTakeRequest request, OnItems done) override;

 private:
  struct Shared {
    SharedRecord record;
    Time lease_ends = Time::never();  // of an ephemeral one
  };
  using Key = std::tuple<WorkspaceId, SharedKind, std::string>;
  using OnAnswer = std::function<void(Result<SharedAnswer>)>;

  Result<SharedId> find(const SharedName& name) const;
  Result<> admit(std::size_t bytes) const;
  void change(SharedChange wanted, std::size_t bytes, OnAnswer done);
  void look(SharedQuery query, OnAnswer done);
  Result<> has_room_for_answers(std::size_t bytes) const;
  // The items, counted as answers on their way.
  SharedItems as_items(SharedAnswer answer);
  void keep_lease(Shared& shared);
  void check_leases();
  void sweep();
  void sweep_again_later();

  EngineDriver& driver_;
  Store& store_;
  Background& background_;
  IdSource& ids_;
  const KeyRing& keys_;
  QueueLines lines_;
  std::map<Key, Shared> all_;
  std::size_t changes_ = 0;       // that the store has not answered
  std::size_t change_bytes_ = 0;  // of these
  // Of values on their way to who asked; shared with what counts them, which may outlive this.
  std::shared_ptr<std::size_t> answer_bytes_ = std::make_shared<std::size_t>(0);
  bool is_sweeping_ = false;
  bool is_leaving_ = false;
};

}  // namespace ember
