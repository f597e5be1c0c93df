// Requests to web endpoints, as the gateway sees them: a head and bytes each way. Nothing here
// reads them. All of it runs on the loop's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "control/control.h"

namespace ember {

// So much of a request behind its head may have been given and not been taken.
inline constexpr std::size_t kPieceWindowBytes = 256u << 10;

// Who may call an endpoint: whoever brings a key, or anybody.
enum class WebAccess : std::uint8_t { by_key, open };

// What a label stands for.
struct WebEndpoint {
  std::string app, function;  // "CLASS.METHOD" for a method
  WebAccess access = WebAccess::by_key;
};

class WebClient {
 public:
  virtual ~WebClient() = default;
  // The answer: first its head, as docs/reference/runner-protocol.md has it, then its body. No more
  // comes than the window of items allows until accept() says that earlier ones have gone on.
  virtual void on_piece(std::string bytes) = 0;
  // So many bytes of what was given have been taken.
  virtual void on_room(std::size_t bytes) = 0;
  // Exactly one of the two, once and last, never from inside start(). The answer's end need not be
  // the call's: the app may have things to do behind it.
  virtual void on_end() = 0;
  virtual void on_failure(CallFailure failure) = 0;
};

class WebService {
 public:
  virtual ~WebService() = default;
  virtual std::optional<WebEndpoint> find(std::string_view label) const = 0;
  // Starts a call with the request's head. On success the client is borrowed until it is told the
  // end, or the call is abandoned.
  virtual StartedCall start(const WebEndpoint& endpoint, std::string head, KeyId caller,
                            WebClient* client) = 0;
  // What follows the head. Calls that have ended are ignored, here and below.
  virtual void send(CallId call, std::string piece) = 0;
  virtual void end(CallId call) = 0;  // nothing follows
  virtual void accept(CallId call, StreamCredit gone) = 0;
  virtual void abandon(CallId call) = 0;
};

}  // namespace ember
