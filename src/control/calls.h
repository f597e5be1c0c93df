// Calls from arrival to answer. The warm path runs through here: look the function up, tell the
// engine, send a frame; a frame comes, tell the engine, answer. It makes no write, takes no lock
// and parses nothing.
//
// A call has one input, and both have the same number.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "control/call_table.h"
#include "control/containers.h"
#include "control/engine_driver.h"
#include "control/id_source.h"

namespace ember {

// Told as the code of a call that has been waiting for room which is held by what waits for it.
inline constexpr std::string_view kDeadlock = "deadlock";

// What is particular about a call that has been accepted before it starts.
struct CallTerms {
  CallId id = {};  // zero: a new one
  Admission admission = Admission::to_be_asked;
  Time expires = Time::never();
  Time arrived = {};  // zero: now
  CallId parent = {};
  Bond bond = Bond::waited_for;
};

class Calls {
 public:
  Calls(EngineDriver& driver, AppCatalog& catalog, Containers& containers, NodeFleet& fleet,
        LogBook& logs, NodeClient& node, IdSource& ids);

  StartedCall start(CallRequest request, CallWaiter* waiter, Origin origin, CallTerms terms = {});
  void abandon(CallId id);
  // The waiter has all that it wanted: the call goes on, and nobody is answered.
  void leave(CallId id);
  Result<> cancel(CallId id);
  // As in Control.
  void accept_items(CallId id, StreamCredit gone);

  // What the request calls, or why there is nothing to call.
  Result<Callable> find(const CallRequest& request) const;
  CallFailure not_found(const CallRequest& request, const Error& error) const;
  // Of a web endpoint that is called otherwise.
  static Error takes_requests_alone(const Function& function, std::uint8_t method);
  // What a caller is told whom a limit keeps out.
  CallFailure refusal(const Function& function, const Reason& reason,
                      std::int64_t retry_after_s) const;
  // Whether it is on a container, as far as is known here.
  bool is_running(CallId id) const;
  bool knows(CallId id) const { return table_.find(id) || table_.find_finished(id); }

  // --- what the engine wants ---
  void dispatch(const DispatchInput& action);
  void interrupt(const CancelInput& action);
  void answer(const AnswerInput& action);
  void fail(const FailInput& action);
  void retry(const RetryInput& action);

  // A runner's Chunk; whether somebody waits for it.
  bool on_item(Container& container, const FrameHeader& header, std::string& body);
  // A runner's Progress.
  void on_progress(const Container& container, const FrameHeader& header, const std::string& body);
  // A parent in a container waits for the end of a call that it has not made by waiting.
  void await(CallId parent, CallId call);
  // Told of each call with checkpoints that ends.
  void on_checkpointed_end(std::function<void(const FinishedCall&, Bond)> ended) {
    ended_ = std::move(ended);
  }
  // A runner's Result or Error.
  void on_reply(Container& container, const FrameHeader& header, std::string& body);

  const CallTable& table() const { return table_; }

 private:
  bool pin(const Call& call);
  static void follow_rollout(Call& call, const FunctionPtr& next);
  Error no_such_function(std::string_view app, std::string_view function) const;
  struct Ending {
    CallState state = CallState::succeeded;
    std::optional<Error> error = {};
    std::string_view told_code = {};
  };
  void end(Call& call, Ending ending, const CallReport& report, Duration execute_share);
  void count(const Call& call, CallState state, const CallReport& report);
  CallReport report_of(const Call& call, const InputReport& report) const;
  // `items`: of its result that were handed out.
  CallFailure failure_of(const FailInput& action, const Function& function,
                         std::uint64_t items) const;
  UniqueFd attempt_file(Call& call);
  void withdraw_children(CallId parent, CallState state);

  EngineDriver& driver_;
  AppCatalog& catalog_;
  Containers& containers_;
  NodeFleet& fleet_;
  LogBook& logs_;
  NodeClient& node_;
  IdSource& ids_;
  CallTable table_;
  std::function<void(const FinishedCall&, Bond)> ended_ = [](const FinishedCall&, Bond) {};
};

}  // namespace ember
