// The calls of this server: those that live, found by id, and the most recent finished ones.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/id_index.h"
#include "base/slab.h"
#include "control/app_catalog.h"
#include "control/containers.h"
#include "control/control.h"
#include "control/tariff.h"
#include "node/unique_fd.h"

namespace ember {

// What a runner said of an attempt, until the engine says whether it counts.
struct CallReply {
  Attempt attempt = 0;
  Body body;  // the value, or the runner's error body
  ErrorCode code = ErrorCode::internal;
  int status = 0;  // as in CallFailure
  std::string message;
};

// Of a call of a generator function.
struct CallStream {
  std::uint64_t items = 0;  // handed out
  // Of those the ones that have not gone on to who reads them. No attempt follows the first item.
  std::uint64_t open_items = 0, open_bytes = 0;
  StreamCredit owed;  // gone on, and the runner not yet told
};

// How far a call has come, in the words of the function itself: a JSON object. Few calls have one.
using CallProgress = std::unique_ptr<const std::string>;

// Whether a call goes on when the one that made it ends.
enum class Bond : std::uint8_t { waited_for, spawned };

struct Call {
  CallId id;
  FunctionPtr function;
  std::uint8_t method = 0;       // of a class
  KeyId caller;                  // zero: a container's own
  CallWaiter* waiter = nullptr;  // borrowed; null once the caller has gone
  Body arguments;                // kept until the end: an attempt that is lost is made again
  UniqueFd arguments_file;       // instead of the bytes where they are many
  Time arrived;
  ContainerId container;  // of the last attempt
  Attempt attempt = 0;    // zero: not dispatched yet
  Time dispatched;        // the last attempt
  Money earlier_cost;     // of attempts that failed before it
  bool starting = false;  // inside start_call
  // What waiting calls have none of is held apart: there may be a million of them.
  std::unique_ptr<CallFailure> refusal;  // for start_call to return
  std::unique_ptr<CallReply> reply;
  CallStream stream;
  CallId parent;  // that made it, from a container; zero: none
  Bond bond = Bond::waited_for;
  CallProgress progress;
  Links links;
};

enum class CallState : std::uint8_t { waiting, running, succeeded, failed, timed_out, cancelled };
std::string_view call_state_name(CallState state);
// Of a call that ended with such an error.
CallState ended_state(ErrorCode code);

struct FinishedCall {
  CallId id;
  FunctionPtr function;
  CallState state = CallState::succeeded;
  std::optional<Error> error;  // none after success
  Time arrived;
  CallReport report;  // without the text of its GPU: the tariff has it
  Duration execute_share;
  std::shared_ptr<const Tariff> tariff;  // of its last container; none if it never had one
  StartSteps start;                      // that it waited for, if it was cold
  std::uint8_t method = 0;               // of a class
  CallId parent = {};
  CallProgress progress = {};
  std::string_view told_code = {};  // of its failure, instead of the error's own
};

class CallTable {
 public:
  // The reference holds until remove().
  Call& add(CallId id, CallId parent = {});
  Call* find(CallId id);
  const Call* find(CallId id) const;
  void remove(CallId id);
  std::size_t live() const { return index_.size(); }
  // Those of a call that live, oldest first.
  std::vector<CallId> children_of(CallId parent) const;
  // Newest first.
  std::vector<const Call*> live_calls() const;

  // Forgets the oldest when there are too many.
  void finish(FinishedCall call);
  const FinishedCall* find_finished(CallId id) const;
  static Error no_such_call(CallId id);
  // Newest first; of one app if it is named.
  std::vector<const FinishedCall*> finished_calls(std::string_view app, std::size_t limit) const;

 private:
  Slab<Call> calls_;
  IdIndex<CallId> index_;
  SlotList<Call, &Call::links> by_arrival_;
  std::set<std::pair<CallId, CallId>> children_;  // each behind its parent
  std::vector<FinishedCall> ring_;
  std::size_t ring_next_ = 0;
};

}  // namespace ember
