// Who waits for the items of queues. Getters of a partition stand in a line, and one take of the
// store's is under way for a line at a time: for all who stand in it then, in their order. A put
// into a partition with a line is followed by a take in the same commit, so nobody looks twice and
// nobody waits for a timer.
//
// An item is off the disk before its getter is told of it, and so never goes to two, whatever is
// killed; what a getter left behind goes to the next, or back to where it was.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "control/background.h"
#include "control/engine_driver.h"
#include "control/shared_service.h"
#include "store/store.h"

namespace ember {

class QueueLines {
 public:
  using OnItems = SharedService::OnItems;

  QueueLines(EngineDriver& driver, Store& store, Background& background)
      : driver_(driver), store_(store), background_(background) {}

  struct Wish {
    std::int64_t most = 1;
    Duration patience = {};
  };
  // As SharedService::take has it.
  [[nodiscard]] std::shared_ptr<void> stand(SharedId queue, const std::string& partition, Wish wish,
                                            OnItems done);
  // Items have been given to the store for it, and are not yet on disk.
  void wake(SharedId queue, const std::string& partition);
  // All who wait for the queue, or for any, are told so.
  void fail(SharedId queue, const Error& why);
  void fail_all(const Error& why);
  std::size_t waiting() const { return waiting_; }
  // Whether nothing is on its way from the disk, or back to it.
  bool is_settled() const { return lines_.empty(); }

 private:
  using Key = std::pair<SharedId, std::string>;  // queue and partition
  struct Getter {
    std::uint64_t serial = 0;
    std::int64_t most = 1;
    Time until;
    OnItems done;
  };
  struct Line {
    std::deque<Getter> getters;
    bool is_taking = false;
    bool is_to_take_again = false;
  };
  // Answers are given once the lines are as they will be: whoever hears one may come again.
  using Answers = std::vector<std::pair<OnItems, Result<SharedItems>>>;

  void serve(const Key& key);
  void taken(const Key& key, std::uint64_t last, Result<SharedAnswer> answer);
  void hand_out(Line& line, std::vector<SharedItem>& items, Answers& answers);
  void dismiss_impatient(Line& line, std::uint64_t last, Answers& answers);
  void give_back(const Key& key, QueueReturn items);
  void go_on(const Key& key);
  void lapse(const Key& key, std::uint64_t serial);
  void leave(const Key& key, std::uint64_t serial);
  Getter pop(Line& line, std::deque<Getter>::iterator getter);
  static void give(Answers answers);

  EngineDriver& driver_;
  Store& store_;
  Background& background_;
  std::map<Key, Line> lines_;
  std::size_t waiting_ = 0;
  std::uint64_t last_serial_ = 0;
  // Handles that outlive this ask it whether it has gone.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace ember
