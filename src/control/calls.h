// Calls from arrival to answer. The warm path runs through here: look the function up, tell the
// engine, send a frame; a frame comes, tell the engine, answer. It makes no write, takes no lock
// and parses nothing.
//
// A call has one input, and both have the same number.
#pragma once

#include <string>
#include <string_view>

#include "control/call_table.h"
#include "control/containers.h"
#include "control/engine_driver.h"
#include "control/id_source.h"

namespace ember {

class Calls {
 public:
  Calls(EngineDriver& driver, AppCatalog& catalog, Containers& containers, NodeFleet& fleet,
        LogBook& logs, NodeClient& node, IdSource& ids);

  StartedCall start(CallRequest request, CallWaiter* waiter, Origin origin);
  void abandon(CallId id);
  Result<> cancel(CallId id);
  // As in Control.
  void accept_items(CallId id, StreamCredit gone);

  // --- what the engine wants ---
  void dispatch(const DispatchInput& action);
  void interrupt(const CancelInput& action);
  void answer(const AnswerInput& action);
  void fail(const FailInput& action);

  // A runner's Chunk; whether somebody waits for it.
  bool on_item(Container& container, const FrameHeader& header, std::string& body);
  // A runner's Result or Error.
  void on_reply(Container& container, const FrameHeader& header, std::string& body);

  const CallTable& table() const { return table_; }

 private:
  bool pin(const Call& call);
  Error no_such_function(std::string_view app, std::string_view function) const;
  void end(Call& call, CallState state, std::optional<Error> error, const CallReport& report,
           Duration execute_share);
  void count(const Call& call, CallState state, const CallReport& report);
  CallReport report_of(const Call& call, const InputReport& report) const;
  CallFailure failure_of(const FailInput& action, const Call& call) const;
  UniqueFd attempt_file(Call& call);

  EngineDriver& driver_;
  AppCatalog& catalog_;
  Containers& containers_;
  NodeFleet& fleet_;
  LogBook& logs_;
  NodeClient& node_;
  IdSource& ids_;
  CallTable table_;
};

}  // namespace ember
