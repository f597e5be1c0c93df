// A conversation in messages, both ways, with a client that has left HTTP (WebSocket): what the
// gateway and the control plane are to each other for it.
#pragma once

#include <string>
#include <string_view>

namespace ember {

// The client's side. Not called from inside a session's functions of the same turn alone: any time.
class MessageClient {
 public:
  virtual ~MessageClient() = default;
  virtual void send_text(std::string_view text) = 0;
  virtual void send_bytes(std::string_view bytes) = 0;
  // All is said: the session is destroyed soon after, and not in the call.
  virtual void end_messages() = 0;
};

// Ours. Destroyed when the client has gone, or after end_messages().
class MessageSession {
 public:
  virtual ~MessageSession() = default;
  virtual void on_text(std::string_view text) = 0;    // UTF-8
  virtual void on_bytes(std::string_view bytes) = 0;  // a piece of a message, or all of it
};

}  // namespace ember
