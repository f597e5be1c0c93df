// Commands that clients have run in containers (docs/reference/http.md): each session is one
// process, the node's descriptors for it, and a client. Both sides send a window's worth and no
// more until the other says what it has taken, so that neither holds more than that for the other,
// and what is said beside the bytes is never behind them.
#pragma once

#include <boost/asio/io_context.hpp>
#include <map>
#include <memory>
#include <string_view>

#include "control/containers.h"
#include "control/engine_driver.h"
#include "control/id_source.h"
#include "control/messages.h"
#include "model/exec.h"
#include "node/node_client.h"

namespace ember {

inline constexpr std::size_t kExecWindowBytes = 256u << 10;

class ExecSessions {
 public:
  ExecSessions(boost::asio::io_context& loop, EngineDriver& driver, NodeClient& node,
               const Containers& containers, IdSource& ids);

  // The client is borrowed for as long as the session lives.
  Result<std::unique_ptr<MessageSession>> open(ContainerId container, MessageClient& client);

  // --- what the node says ---
  void on_stream(ExecId exec, ExecStream stream, UniqueFd file);
  void on_ended(ExecId exec, Result<ExecExit> exit);

 private:
  class Session;

  boost::asio::io_context& loop_;
  EngineDriver& driver_;
  NodeClient& node_;
  const Containers& containers_;
  IdSource& ids_;
  std::map<ExecId, Session*> sessions_;  // borrowed: each leaves when it is destroyed
};

}  // namespace ember
