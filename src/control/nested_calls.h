// Calls that user code in a container makes of other functions: over the runner's own socket, so a
// container needs no network and no key for them.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "control/async_calls.h"
#include "control/calls.h"

namespace ember {

class NestedCalls {
 public:
  NestedCalls(Calls& calls, AsyncCalls& async, Containers& containers);
  ~NestedCalls();
  NestedCalls(const NestedCalls&) = delete;
  NestedCalls& operator=(const NestedCalls&) = delete;

  // A Call frame. The answer goes to the container's runner, unless its connection has gone.
  void start(ContainerId container, const FrameHeader& header, std::string& body);
  // A Credit frame: the runner's code has taken items.
  void on_credit(ContainerId container, const FrameHeader& header, const std::string& body);
  // A CallCancel frame: nobody waits for that call any more.
  void cancel(ContainerId container, const FrameHeader& header);
  // Withdraws what the container's runner waits for.
  void runner_gone(ContainerId container);

 private:
  class Waiter;
  struct Question;                                    // for the outcome of a call
  using Key = std::pair<ContainerId, std::uint64_t>;  // and the runner's own number
  struct Maker {                                      // of a call; zero: nobody that is known
    CallId call;
    KeyId caller;
  };

  Maker maker(ContainerId container, std::string_view call_text) const;
  void spawn(const Key& key, AsyncRequest request);
  void tell_outcome(const Key& key, const Question& question);
  void reply(const Key& key, FrameType type, Body body);
  void refuse(const Key& key, CallFailure failure);

  Calls& calls_;
  AsyncCalls& async_;
  Containers& containers_;
  std::map<Key, std::unique_ptr<Waiter>> waiters_;
  std::size_t asked_ = 0;  // for calls for later and their outcomes, without an answer yet
};

}  // namespace ember
